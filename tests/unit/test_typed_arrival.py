"""Values of declared types, in every format: they arrive as that type, or are rejected by key."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from numbers import Number
from typing import Any, Literal
from uuid import UUID

import msgspec
import pydantic
import pytest

from mqctx import Context, InvalidValueError, JsonFormat, Propagator, Rejection, Variable
from mqctx.formats import Format
from mqctx.formats.baggage import BaggageFormat
from mqctx.formats.flat import FlatFormat
from mqctx.formats.signed import SignedFormat

KEYS = {"k": "sixteen bytes or more"}


class Plan(Enum):
    PRO = "pro"
    FREE = "free"


class Level(Enum):
    LOW = 0


class Line(msgspec.Struct):
    sku: UUID
    count: int = 1


@dataclass
class Cart:
    total: Decimal
    at: dt.datetime


class Address(pydantic.BaseModel):
    street: str
    since: dt.date | None = None


class Customer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    id: UUID
    home: Address
    plan: Plan = Plan.FREE
    born: dt.date = pydantic.Field(default=dt.date(2000, 1, 1), alias="birthDay")


@dataclass
class Order:
    lines: list[Line]
    customer: Customer


class Tree(msgspec.Struct):
    name: str
    below: list["Tree"] = []


class Shop(pydantic.BaseModel):
    home: pydantic.AnyUrl
    hours: pydantic.Json[list[int]]


NOW = dt.datetime(2026, 11, 22, 10, 30, 0, 123456, tzinfo=dt.UTC)
HOME = Address(street="Main \u00e9", since=NOW.date())
ADA = Customer(id=UUID(int=7), home=HOME, birthDay=dt.date(1815, 12, 10))

TYPED: dict[str, tuple[Any, object, object]] = {
    # name: its type, a value, and what fits not
    "text": (str, 'a;b="c,%\u00e9', 5),
    "number": (int, -(2**70), "x"),
    "fraction": (float, 0.1, "x"),
    "flag": (bool, False, "maybe"),
    "maybe": (int | None, None, "x"),
    "order": (UUID, UUID(int=5), "5"),
    "at": (dt.datetime, NOW, "yesterday"),
    "day": (dt.date, NOW.date(), "2026-02-30"),
    "took": (dt.timedelta, dt.timedelta(seconds=90), "PT"),
    "total": (Decimal, Decimal("19.90"), "NaN"),
    "plan": (Plan, Plan.PRO, "gold"),
    "urgency": (Level, Level.LOW, 1),
    "side": (Literal["left", "right"], "left", "up"),
    "raw": (bytes, b"\x00\xff", "%"),
    "orders": (list[UUID], [UUID(int=1), UUID(int=2)], [1]),
    "prices": (dict[str, Decimal], {"a": Decimal(1)}, {"a": []}),
    "stock": (dict[UUID, int], {UUID(int=1): 3}, {"x": 3}),
    "line": (Line, Line(UUID(int=3), 2), {"sku": "x"}),
    "cart": (Cart, Cart(Decimal("9.90"), NOW), {"total": 1}),
    "home": (Address, HOME, {"street": 5}),
    "homes": (list[Address], [HOME, HOME], [{}]),
    "somewhere": (Address | None, HOME, 5),
    "customer": (Customer, ADA, {"id": "x"}),
    "tree": (Tree, Tree("a", [Tree("b"), Tree("c", [Tree("d")])]), {"below": []}),
    "shop": (Shop, Shop.model_validate({"home": "https://a.example", "hours": "[9, 17]"}), {}),
    "bought": (Order, Order([Line(UUID(int=3))], ADA), {"lines": []}),
}

FORMATS: list[Format] = [
    JsonFormat(),
    BaggageFormat(),
    FlatFormat(),
    FlatFormat({name: f"h-{name}" for name in TYPED}),
    SignedFormat(JsonFormat(), KEYS),
    SignedFormat(BaggageFormat(), KEYS),
]


@pytest.fixture(params=FORMATS, ids=lambda each: repr(each).partition(", keys")[0][:50])
def layout(request: pytest.FixtureRequest) -> Format:
    return request.param


@pytest.fixture
def of_layout(layout: Format, rejected: list[Rejection]) -> Propagator:
    return Propagator(formats=[layout], on_rejected=rejected.append)


@pytest.fixture(autouse=True)
def _declared() -> None:
    for name, (kind, _, _) in TYPED.items():
        Variable(name, kind)


def test_all_arrive_equal_in_value_and_type(
    of_layout: Propagator, rejected: list[Rejection]
) -> None:
    sent = Context({name: value for name, (_, value, _) in TYPED.items()})
    arrived = of_layout.extract(sent.run(of_layout.inject))
    assert rejected == []
    assert arrived == sent
    for name, (_, value, _) in TYPED.items():
        assert type(arrived[name]) is type(value), name


def unfit_headers(layout: Format) -> Iterator[tuple[str, Any]]:
    """Write, with each format, values that fit not, as a service that knows no types does."""
    for name, (_, _, unfit) in TYPED.items():
        written = layout.encode({name: unfit, "user": "ada"})  # type: ignore[dict-item] # its point
        yield name, written(4096) if callable(written) else written


def test_what_fits_not_is_rejected_by_key_and_the_rest_restored(
    layout: Format, of_layout: Propagator, rejected: list[Rejection]
) -> None:
    for name, headers in unfit_headers(layout):
        arrived = of_layout.extract(headers)
        assert name not in arrived
        if not isinstance(layout, FlatFormat) or not layout.headers:
            assert arrived == {"user": "ada"}
        assert [(r.key, r.reason) for r in rejected] == [(name, "illegal-value")]
        assert str(rejected.pop()).isprintable()


@pytest.mark.parametrize("layout", [BaggageFormat(), FlatFormat()], indirect=True)
def test_text_of_others_fits_a_declared_number(layout: Format, of_layout: Propagator) -> None:
    headers = {
        "mqctx-number": "-7",
        "mqctx-fraction": "2",
        "mqctx-flag": "true",
        "mqctx-maybe": "5",
        "mqctx-text": "5",
        "baggage": "number=-7,fraction=2,flag=true,maybe=5,text=5",
    }
    expected = {"number": -7, "fraction": 2.0, "flag": True, "maybe": 5, "text": "5"}
    arrived = of_layout.extract(headers)
    assert arrived == expected
    for name, value in expected.items():
        assert type(arrived[name]) is type(value)


def test_in_json_a_number_is_a_number() -> None:
    propagator = Propagator(on_rejected=lambda _: None)
    assert propagator.extract({"mqctx": '{"number":"7","flag":"true","text":"x"}'}) == {"text": "x"}


def test_what_is_not_of_a_declared_abstract_class_is_rejected_by_key() -> None:
    Variable("impedance", Number)
    propagator = Propagator(on_rejected=lambda _: None)
    assert propagator.extract({"mqctx": '{"impedance":1}'}) == {"impedance": 1}
    assert propagator.extract({"mqctx": '{"impedance":"x","user":"ada"}'}) == {"user": "ada"}
    assert propagator.rejections == {"illegal-value": 1}


class TestPydantic:
    def test_a_model_is_an_object_of_its_fields_for_others(self) -> None:
        assert Context(customer=ADA).run(Propagator().inject) == {
            "mqctx": '{"customer":{"id":"00000000-0000-0000-0000-000000000007",'
            '"home":{"street":"Main \\u00e9","since":"2026-11-22"},'
            '"plan":"free","birthDay":"1815-12-10"}}'
        }

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("home", {"street": "Main"}),
            ("home", ADA),
            ("home", "Main"),
            ("homes", HOME),
            ("number", HOME),
            ("home", Address.model_construct(street=5)),
            ("home", Address.model_construct(street=object())),
        ],
    )
    def test_what_is_no_such_model_fails_where_it_is_set(self, name: str, value: object) -> None:
        with pytest.raises(InvalidValueError, match=f"^{name}: "):
            Context({name: value})

    def test_a_model_is_copied_where_it_is_set(self) -> None:
        address = Address(street="Main")
        context = Context(home=address)
        address.street = "Other"
        assert context["home"].street == "Main"

    def test_a_model_that_is_not_declared_cannot_travel(self) -> None:
        with pytest.raises(InvalidValueError, match=r"undeclared: .*Address cannot travel"):
            Context(undeclared=HOME)
