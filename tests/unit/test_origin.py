"""Each value has an origin, and one that nobody signed is never signed onward."""

import copy
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqctx import (
    ConfigurationError,
    Context,
    JsonFormat,
    MissingValueError,
    Propagator,
    bind,
    current,
    run,
    scope,
    wrap,
)
from mqctx._core.context import from_checked
from mqctx.formats.baggage import BaggageFormat
from mqctx.formats.signed import SignedFormat
from mqctx.formats.trace_context import TraceContextFormat

KEYS = {"k1": "an-example-of-16-bytes-or-more"}
signed = SignedFormat(JsonFormat("mqctx-signed"), KEYS)
plain = JsonFormat()
both = Propagator(formats=[signed, plain])
strict = Propagator(formats=[signed], on_rejected=lambda _: None)


def origins(context: Context) -> dict[str, str]:
    return {name: context.origin(name) for name in context}


@pytest.fixture
def received() -> Context:
    """Give a context of a signed and an unsigned value, and one of this process."""
    headers = run({"tenant": "acme"}, both.inject)
    headers["mqctx"] = '{"tenant":"evil","is_admin":true}'
    return both.extract(headers) | {"user": "ada"}


def test_a_context_says_whose_word_each_value_is(received: Context) -> None:
    assert received == {"tenant": "acme", "is_admin": True, "user": "ada"}
    assert origins(received) == {"tenant": "signed", "is_admin": "unsigned", "user": "here"}


def test_a_value_that_is_not_there_is_nobodys_word(received: Context) -> None:
    with pytest.raises(MissingValueError, match="role: the context has no such value"):
        received.origin("role")


def unpickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - it was pickled here


class TestTheMarkSurvives:
    @pytest.mark.parametrize(
        "step",
        [
            lambda context: Context(context),
            lambda context: Context(context, other=1),
            lambda context: context | {},
            lambda context: context | {"other": 1},
            lambda context: {"other": 1} | context,
            lambda context: Context(other=1) | context,
            unpickled,
            lambda context: copy.deepcopy(context),
            lambda context: context.run(current),
            lambda context: run(context, current),
            lambda context: context.wrap(current)(),
            lambda context: unpickled(context.wrap(current))(),
            lambda context: context.run(wrap, current)(),
            lambda context: scope(context)(current)(),
            lambda context: context.scope()(current)(),
            lambda context: context.snapshot().run(current),
        ],
    )
    def test(self, step: Callable[[Context], Context], received: Context) -> None:
        after = step(received)
        assert {name: after.origin(name) for name in received} == origins(received)

    def test_the_mark_survives_scope_and_bind(self, received: Context) -> None:
        with scope(other=1), scope(received):
            assert origins(current()) == {**origins(received), "other": "here"}
        with scope(other=1):
            bind(received)
            assert origins(current()) == {**origins(received), "other": "here"}


class TestAPlainValueIsThisProcesssOwnWord:
    @pytest.mark.parametrize(
        "step",
        [
            lambda context: Context(context, tenant="acme", is_admin=False),
            lambda context: context | {"tenant": "acme", "is_admin": False},
            lambda context: context | Context(tenant="acme", is_admin=False),
            lambda context: run({**context}, current),
            lambda context: scope(**context)(current)(),
        ],
    )
    def test(self, step: Callable[[Context], Context], received: Context) -> None:
        assert set(origins(step(received)).values()) == {"here"}

    def test_a_plain_value_is_this_processs_own_word_bound_or_scoped(
        self, received: Context
    ) -> None:
        with received.scope():
            bind(is_admin=False)
            with scope(tenant="acme"):
                assert set(origins(current()).values()) == {"here"}


class TestUnsigned:
    def test_an_unsigned_value_is_not_signed_onward_but_travels_on_unsigned(
        self, received: Context
    ) -> None:
        onward = received.run(both.inject)
        assert strict.extract(onward) == {"tenant": "acme", "user": "ada"}
        assert both.extract(onward) == received

    def test_an_unsigned_value_is_left_out_where_no_format_can_carry_it(
        self, received: Context
    ) -> None:
        assert set(received.run(strict.inject)) == {"mqctx-signed"}
        assert Context(received, tenant="acme").run(strict.inject) != {}
        assert both.extract({"mqctx": '{"is_admin":true}'}).run(strict.inject) == {}

    def test_an_unsigned_value_stays_so_in_a_context_that_is_extracted_again(self) -> None:
        headers = {"mqctx": '{"tenant":"acme"}'}
        propagator = Propagator()
        for _ in range(2):
            assert origins(propagator.extract(headers)) == {"tenant": "unsigned"}

    def test_members_of_others_are_not_signed(self) -> None:
        signing = Propagator(formats=[SignedFormat(BaggageFormat(), KEYS)])
        context = Propagator(formats=[BaggageFormat()]).extract({"baggage": "a=1;p=q,1!=2"})
        assert set(context) == {"a", "baggage.others"}
        assert context.run(signing.inject) == {}
        with context.scope(), scope(a="1"):
            assert signing.extract(signing.inject()) == {"a": "1"}


class TestPriority:
    def test_a_format_that_owns_names_goes_first_for_these_alone(self) -> None:
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        propagator = Propagator(formats=[plain, BaggageFormat(), TraceContextFormat()])
        context = propagator.extract(
            {
                "mqctx": '{"tenant":"first","trace_id":"x","baggage.others":"y"}',
                "baggage": "tenant=second,1!=2",
                "traceparent": trace,
            }
        )
        assert context["tenant"] == "first"
        assert context["baggage.others"] == "1!=2"
        assert context["trace_id"] == trace[3:35]

    def test_an_unsigned_owner_of_names_marks_them_so(self) -> None:
        signing = Propagator(formats=[SignedFormat(JsonFormat(), KEYS), BaggageFormat()])
        headers = run({"tenant": "acme"}, signing.inject)
        context = signing.extract({**headers, "baggage": "tenant=evil,1!=2"})
        assert origins(context) == {"tenant": "signed", "baggage.others": "unsigned"}


class TestAcceptForEachFormat:
    def test_accept_is_a_list_for_that_format_alone(self) -> None:
        rejected: list[Any] = []
        careful = Propagator(
            formats=[signed, plain], accept={plain: ["request_id"]}, on_rejected=rejected.append
        )
        headers = run({"tenant": "acme", "request_id": "r-1"}, both.inject)
        assert careful.extract(headers) == {"tenant": "acme", "request_id": "r-1"}
        del headers["mqctx-signed"]
        assert careful.extract(headers) == {"request_id": "r-1"}
        assert [(each.key, each.reason) for each in rejected] == [("tenant", "not-accepted")]

    def test_accept_of_none_is_every_name(self) -> None:
        assert Propagator(accept={}).extract({"mqctx": '{"a":1}'}) == {"a": 1}

    def test_accept_for_a_format_that_is_not_among_them_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="accept: 'request_id' is none of the formats"):
            Propagator(accept={"request_id": ["*"]})


NAMES = ("a", "b", "c")
values = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9), max_size=3)
marked = st.builds(
    lambda given, marks: from_checked(
        given,
        frozenset(name for name in given if marks[name] == "unsigned"),
        frozenset(name for name in given if marks[name] == "signed"),
    ),
    values,
    st.fixed_dictionaries(
        {name: st.sampled_from(["here", "signed", "unsigned"]) for name in NAMES}
    ),
)


def bound(context: Context, added: Mapping[str, object]) -> Context:
    with context.scope():
        bind(added)
        return current()


def scoped(context: Context, added: Mapping[str, object]) -> Context:
    with context.scope(), scope(added):
        return current()


ADDING: list[Callable[[Context, Mapping[str, object]], Context]] = [
    *(lambda context, added: context | added, bound, scoped),
    lambda context, added: Context(context, **added) if type(added) is dict else context | added,
]
KEEPING: list[Callable[[Context], Context]] = [
    *(Context, unpickled, lambda context: context.wrap(current)()),
    lambda context: run(context, current),
]


@given(marked, st.lists(st.tuples(st.integers(0, 3), values | marked, st.integers(0, 3))))
def test_marks_survive_any_sequence_of_steps(
    context: Context, steps: list[tuple[int, Mapping[str, object], int]]
) -> None:
    expected = origins(context)
    for adding, added, keeping in steps:
        expected |= origins(added) if isinstance(added, Context) else dict.fromkeys(added, "here")
        context = KEEPING[keeping](ADDING[adding](context, added))
        assert origins(context) == expected
    sent = context.run(strict.inject)
    assert set(strict.extract(sent)) == {n for n in expected if expected[n] != "unsigned"}
