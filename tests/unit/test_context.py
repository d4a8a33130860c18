"""The context itself: an immutable mapping, and how it is checked, merged, shown and pickled."""

import copy
import pickle
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import pytest

import mqctx
from mqctx import Context, Variable
from mqctx._core.context import from_unread


def test_reads_as_a_mapping() -> None:
    context = Context({"request_id": "r-1"}, tenant="acme")
    assert dict(context) == {"request_id": "r-1", "tenant": "acme"}
    assert context["tenant"] == "acme"
    assert len(context) == 2
    assert "user" not in context
    assert context == {"tenant": "acme", "request_id": "r-1"}


def test_has_no_way_to_change_it() -> None:
    context: Any = Context(a=1)
    with pytest.raises(TypeError):
        context["a"] = 2
    with pytest.raises(AttributeError):
        context.other = 2


def test_is_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Context())


def test_copies_lists_and_dicts_where_they_are_set() -> None:
    tags = ["a", {"b": ["c"]}]
    context = Context(tags=tags)
    tags.append("d")
    assert context["tags"] == ["a", {"b": ["c"]}]


def test_merges_with_a_mapping_on_either_side_and_the_right_one_counts() -> None:
    assert Context(a=1, b=1) | {"b": 2} == {"a": 1, "b": 2}
    merged = {"a": 1, "b": 1} | Context(b=2)
    assert isinstance(merged, Context)
    assert merged == {"a": 1, "b": 2}


def test_checks_what_is_merged_in() -> None:
    with pytest.raises(mqctx.InvalidValueError, match="stamp"):
        _ = Context() | {"stamp": object()}


def test_shows_its_values_to_a_person() -> None:
    assert repr(Context(request_id="r-1", n=2)) == "<Context request_id='r-1' n=2>"
    assert repr(Context()) == "<Context empty>"


def test_survives_pickling_without_its_local_values() -> None:
    Variable("order", UUID)
    Variable("socket", object, local=True)
    order = uuid4()
    pickled = pickle.dumps(Context(order=order, socket=object(), tenant="acme"))
    assert pickle.loads(pickled) == {"order": order, "tenant": "acme"}  # noqa: S301 - our own bytes


def test_is_its_own_copy_so_local_values_stay() -> None:
    Variable("socket", object, local=True)
    context = Context(socket=object())
    assert copy.copy(context) is context
    assert copy.deepcopy(context) is context


@pytest.mark.parametrize("name", ["", "1a", "a b", "a:b", "\u00e9", "a" * 65, "a\n"])
def test_refuses_a_name_that_cannot_travel(name: str) -> None:
    with pytest.raises(mqctx.InvalidNameError, match="at most 64 characters"):
        Context({name: 1})


def test_refuses_a_name_that_is_not_text() -> None:
    names: Any = {1: "a"}
    with pytest.raises(mqctx.InvalidNameError, match="^1: a name starts with"):
        Context(names)


@pytest.mark.parametrize("name", ["a", "_a", "A1", "order.id", "x-y", "a" * 64])
def test_takes_identifiers_with_dots_and_dashes(name: str) -> None:
    assert Context({name: 1})[name] == 1


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        *("", "text", "\u00e9\U0001f600", "a\x00b\r\n", 0, -1, 2**63, -(2**63) - 1, 2**400),
        *(
            0.1,
            1e300,
            -0.0,
            True,
            False,
            None,
            [],
            {},
            [1, ["a", {"b": None}]],
            {"": {"k": [True]}},
        ),
    ],
)
def test_takes_what_json_can_say(value: object) -> None:
    taken = Context(value=value)["value"]
    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "object"),
        (b"bytes", "bytes"),
        ((1, 2), "tuple"),
        ({1}, "set"),
        (uuid4(), r"uuid\.UUID"),
        (Colour.RED, r"test_context\.Colour"),
        ([{"deep": uuid4()}], r"uuid\.UUID"),
        ({1: "a"}, "key of type int"),
        ({Colour.RED: "a"}, "key of type .*Colour"),
        (float("nan"), "finite"),
        ([float("-inf")], "finite"),
        ("\ud800", "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        pytest.param(10**5000, "digits", id="huge int"),
    ],
)
def test_refuses_what_cannot_travel_by_key_and_type(value: object, said: str) -> None:
    assert Context(order="text") == {"order": "text"}  # the name is known from here on
    for _ in range(2):
        with pytest.raises(mqctx.InvalidValueError, match=f"^order: .*{said}"):
            Context(order=value)


def test_takes_lists_and_dicts_nested_to_the_limit() -> None:
    value: object = "end"
    for level in range(32):
        value = [value] if level % 2 else {"in": value}
    assert Context(order=value)["order"] == value


def test_refuses_values_nested_too_deep_even_endlessly() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(mqctx.InvalidValueError, match="order: nested deeper than 32 levels"):
        Context(order=endless)


def test_turns_subclasses_into_what_arrives_on_the_other_side() -> None:
    class SafeText(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "not this"

    class Long(int):
        def __repr__(self) -> str:
            return "5L"

    class Metres(float):
        pass

    class Ordered(dict[str, Any]):
        pass

    context = Context(a=SafeText("text"), b=Long(5), c=Metres(1.5), d=Ordered(k=1))
    assert dict(context) == {"a": "text", "b": 5, "c": 1.5, "d": {"k": 1}}
    assert [type(value) for value in context.values()] == [str, int, float, dict]


def test_values_of_an_unread_context_are_made_once_and_it_is_like_any_other_then() -> None:
    def make() -> dict[str, object]:
        made.append(None)
        return {"user": "ada"}

    made: list[None] = []
    context = from_unread(make)
    assert not hasattr(context, "unknown")
    assert not made
    assert context | {"tenant": "acme"} == {"user": "ada", "tenant": "acme"}
    assert pickle.loads(pickle.dumps(context)) == {"user": "ada"}  # noqa: S301 - our own bytes
    assert type(context) is Context
    assert made == [None]
