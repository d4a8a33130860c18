"""Typed variables: values of declared types, defaults, locality, and linked ContextVars."""

import datetime as dt
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
import pytest

import mqctx
from mqctx import Context, Propagator, Variable, bind, current, run, scope


class Plan(Enum):
    FREE = "free"
    PRO = {"seats": 5}  # noqa: RUF012 - an Enum member, not a mutable class attribute


class Level(IntEnum):
    LOW = 1


class Address(msgspec.Struct):
    street: str
    number: int


@dataclass
class Cart:
    total: Decimal
    at: dt.datetime


NOW = dt.datetime(2026, 11, 22, 10, 30, 0, 123456, tzinfo=dt.UTC)

DECLARED: list[tuple[Any, object]] = [
    (str, "text"),
    (int, 2**100),
    (float, 0.1),
    (bool, False),
    (UUID, UUID(int=46)),
    (dt.datetime, NOW),
    (dt.datetime, NOW.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))),
    (dt.datetime, NOW.replace(tzinfo=None)),
    (dt.date, NOW.date()),
    (dt.timedelta, dt.timedelta(seconds=90, microseconds=1)),
    (Decimal, Decimal("1.2300")),
    (Decimal, Decimal("1E+1000")),
    (Plan, Plan.FREE),
    (Level, Level.LOW),
    (Address, Address("Main", 5)),
    (Cart, Cart(Decimal("9.90"), NOW)),
    (Literal["a", "b"], "b"),
    (int | None, None),
    (list[UUID], [UUID(int=60)]),
    (dict[str, Decimal], {"a": Decimal(1)}),
    (dict[UUID, int], {UUID(int=62): 1}),
    (dict[int, str], {1: "a"}),
    (tuple[int, str], (1, "a")),
    (set[int], {1, 2}),
    (bytes, b"\x00\xff"),
]


@pytest.mark.parametrize(("declared", "value"), DECLARED, ids=lambda value: type(value).__name__)
def test_a_declared_type_arrives_equal_in_value_and_type(declared: Any, value: object) -> None:
    variable: Variable[Any] = Variable("declared", declared)
    with variable.scope(value):
        headers = Propagator().inject()
    arrived = Propagator().extract(headers)
    assert arrived.run(variable.get) == value
    assert type(arrived["declared"]) is type(value)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        *((str, 5), (int, "5"), (int, True), (int, 1.5), (bool, 1), (UUID, "no uuid")),
        *((Plan, "gold"), (Literal["a"], "b"), (list[int], ["a"]), (dt.date, "yesterday")),
        *((float, float("nan")), (Decimal, Decimal("NaN")), (Address, ...)),
        *((list[str], ["\ud800"]), (Decimal, Decimal("sNaN")), (list[Decimal], [Decimal("NaN")])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_does_not_fit_fails_where_it_is_set(declared: Any, value: object) -> None:
    Variable("declared", declared)
    for use in (lambda: scope(declared=value), lambda: run({"declared": value}, current)):
        with pytest.raises(mqctx.InvalidValueError, match="^declared: "):
            use()


@pytest.mark.parametrize(
    ("declared", "value", "said"),
    [
        (str, 5, "declared: expected str, got int"),
        (UUID, "no uuid", "declared: expected uuid.UUID, got str: Invalid UUID"),
        (list[int], ["a"], "declared: expected list[int], got list: Expected `int`, got `str`"),
    ],
)
def test_an_error_says_once_what_was_expected(declared: Any, value: object, said: str) -> None:
    Variable("declared", declared)
    with pytest.raises(mqctx.InvalidValueError) as error:
        scope(declared=value)
    assert str(error.value).partition(" - at")[0] == said


def test_a_value_that_changes_on_the_way_is_refused() -> None:
    Variable("anything", Any)
    with pytest.raises(mqctx.InvalidValueError, match="anything: .*becomes '.*' on the way"):
        Context(anything=uuid4())


def test_a_number_becomes_the_declared_float_at_once() -> None:
    Variable("price", float)
    assert type(Context(price=1)["price"]) is float


def test_a_mutable_value_is_copied_where_it_is_set() -> None:
    Variable("cart", Cart)
    cart = Cart(Decimal(1), NOW)
    context = Context(cart=cart)
    cart.total = Decimal(2)
    assert context["cart"].total == Decimal(1)


def test_get_returns_the_value_or_the_default() -> None:
    user_id = Variable("user_id", int, default=None)
    assert user_id.get() is None
    assert user_id.run(7, user_id.get) == 7
    assert user_id.get() is None


def test_get_without_value_and_default_says_what_to_do() -> None:
    tenant = Variable("tenant", str)
    with pytest.raises(LookupError, match=r"tenant: .*scope\(tenant=...\).*default"):
        tenant.get()


def test_a_value_of_none_is_a_value() -> None:
    assert Variable("parent", int | None, default=5).run(None, current) == {"parent": None}


def test_run_and_scope_add_to_what_is_active() -> None:
    tenant = Variable("tenant", str)
    with scope(user="ada"):
        assert tenant.run("acme", current) == {"user": "ada", "tenant": "acme"}
        with tenant.scope("acme"):
            assert current() == {"user": "ada", "tenant": "acme"}


def test_bind_adds_to_the_run_under_way() -> None:
    tenant = Variable("tenant", str)
    with scope(user="ada"):
        tenant.bind("acme")
        assert current() == {"user": "ada", "tenant": "acme"}
    with pytest.raises(mqctx.InactiveError):
        tenant.bind("acme")


def test_shows_its_declaration() -> None:
    assert repr(Variable("tenant", str)) == "Variable('tenant', <class 'str'>)"
    local = Variable("socket", object, local=True)
    assert repr(local) == "Variable('socket', <class 'object'>, local=True)"


def test_its_name_must_be_able_to_travel() -> None:
    with pytest.raises(mqctx.InvalidNameError, match="user id"):
        Variable("user id", int)


def test_the_same_declaration_again_is_fine_even_from_a_reloaded_module() -> None:
    def load() -> type[Enum]:
        class Size(Enum):
            SMALL = "s"

        return Size

    Variable("size", load())
    reloaded = load()
    Variable("size", reloaded)
    assert Context(size=reloaded("s"))["size"] is reloaded("s")


@pytest.mark.parametrize(
    "again", [lambda: Variable("n", str), lambda: Variable("n", int, local=True)]
)
def test_another_declaration_of_the_same_name_is_an_error(again: Callable[[], object]) -> None:
    Variable("n", int)
    with pytest.raises(mqctx.ConfigurationError, match="n: already declared as int"):
        again()


class TestLocal:
    def test_a_local_value_never_leaves_the_process_and_may_be_anything(self) -> None:
        Variable("socket", object, local=True)
        with scope(socket=object(), tenant="acme"):
            assert Propagator().inject() == {"mqctx": '{"tenant":"acme"}'}

    def test_a_local_value_is_checked_against_its_class_where_it_is_set(self) -> None:
        Variable("started", float, local=True)
        with pytest.raises(mqctx.InvalidValueError, match="started: expected float, got str"):
            scope(started="now")

    def test_a_local_value_of_a_type_that_is_no_class_is_not_checked(self) -> None:
        Variable("callback", Callable[[], None], local=True)
        assert Context(callback=print)["callback"] is print

    def test_a_local_value_cannot_be_set_by_a_message(self) -> None:
        Variable("is_admin", bool, local=True)
        propagator = Propagator(on_rejected=lambda _: None)
        assert propagator.extract({"mqctx": '{"is_admin":true,"user":"ada"}'}) == {"user": "ada"}
        assert propagator.rejections["local"] == 1


class TestJoinedContextVar:
    """Another library's ContextVar that takes part, such as asgi-correlation-id's."""

    @staticmethod
    def join(**default: str | None) -> ContextVar[Any]:
        contextvar: ContextVar[Any] = ContextVar("correlation_id", **default)
        Variable("correlation_id", str, contextvar=contextvar)
        return contextvar

    def test_a_linked_contextvar_is_read_when_the_context_is_captured(self) -> None:
        contextvar = self.join(default=None)
        assert current() == {}
        token = contextvar.set("c-1")
        assert current() == {"correlation_id": "c-1"}
        with scope(tenant="acme"):
            assert current() == {"correlation_id": "c-1", "tenant": "acme"}
            assert Propagator().inject() == {"mqctx": '{"correlation_id":"c-1","tenant":"acme"}'}
        contextvar.reset(token)
        assert current() == {}

    def test_a_linked_contextvar_is_set_in_a_run_and_was_never_touched_outside(self) -> None:
        contextvar = self.join()
        assert run({"correlation_id": "c-1"}, contextvar.get) == "c-1"
        with pytest.raises(LookupError):
            contextvar.get()

    def test_a_linked_contextvar_has_the_value_of_a_run_inside_a_scope(self) -> None:
        contextvar = self.join()
        assert run({}, contextvar.get) is None
        with scope(correlation_id="c-1"):
            assert current().run(contextvar.get) == "c-1"
            assert run({"correlation_id": "c-2"}, contextvar.get) == "c-2"
            assert run({}, contextvar.get) is None
            assert contextvar.get() == "c-1"

    def test_a_linked_contextvar_is_set_in_a_scope_and_what_it_was_after(self) -> None:
        contextvar = self.join(default="-")
        token = contextvar.set("c-1")
        with scope(correlation_id="c-2"):
            assert contextvar.get() == "c-2"
        assert contextvar.get() == "c-1"
        contextvar.reset(token)
        assert contextvar.get() == "-"

    def test_a_linked_contextvar_holds_its_default_where_the_restored_context_has_no_value(
        self,
    ) -> None:
        contextvar = self.join(default="-")
        token = contextvar.set("ambient")
        assert run({}, contextvar.get) == "-"
        with Context().scope():
            assert contextvar.get() == "-"
            assert current() == {}
        contextvar.reset(token)

    def test_a_linked_contextvar_without_default_holds_none_where_there_is_no_value(self) -> None:
        assert run({}, self.join().get) is None

    def test_a_linked_contextvar_that_changed_inside_is_captured_as_changed(self) -> None:
        contextvar = self.join(default=None)

        def change() -> Context:
            contextvar.set("c-2")
            return current()

        assert run({"correlation_id": "c-1", "tenant": "acme"}, change) == {
            "correlation_id": "c-2",
            "tenant": "acme",
        }

    def test_a_linked_contextvar_encodes_once_while_it_does_not_change(self) -> None:
        contextvar = self.join(default=None)

        def captured_twice() -> bool:
            contextvar.set("c-1")
            return current() is current()

        assert copy_context().run(captured_twice)

    def test_a_linked_contextvar_is_set_by_bind(self) -> None:
        contextvar = self.join(default=None)
        with scope():
            mqctx.bind(correlation_id="c-1", user="ada")
            assert contextvar.get() == "c-1"
            mqctx.bind(step="pay")
            assert contextvar.get() == "c-1"
        assert contextvar.get() is None

    def test_a_linked_contextvar_with_a_value_that_cannot_travel_is_an_error_at_publish(
        self,
    ) -> None:
        contextvar = self.join(default=None)

        def publish() -> object:
            contextvar.set(object())
            return Propagator().inject()

        with pytest.raises(mqctx.InvalidValueError, match="^correlation_id: "):
            copy_context().run(publish)

    def test_a_linked_contextvar_left_in_another_snapshot_is_set_back_as_far_as_it_reached(
        self,
    ) -> None:
        contextvar = self.join()

        def enter_and_copy() -> Any:
            block.__enter__()
            return copy_context()

        block = scope(correlation_id="c-1")
        copied = copy_context().run(enter_and_copy)
        copied.run(block.__exit__, None, None, None)
        assert copied.run(contextvar.get) is None


def test_a_linked_variable_is_read_from_its_contextvar() -> None:
    locale: ContextVar[str | None] = ContextVar("locale", default=None)
    variable = Variable("locale", str, contextvar=locale)
    with scope(locale="en"):
        assert variable.get() == "en"
        locale.set("de")
        assert variable.get() == "de"


def test_bind_sets_the_contextvars_of_the_names_that_are_bound_and_no_others() -> None:
    locale: ContextVar[str | None] = ContextVar("locale", default=None)
    user: ContextVar[str | None] = ContextVar("user", default=None)
    Variable("locale", str, contextvar=locale)
    Variable("user", str, contextvar=user)
    with scope(locale="en", user="ada"):
        locale.set("de")
        bind(user="grace", tenant="acme")
        bind(tenant="globex")
        assert (locale.get(), user.get()) == ("de", "grace")
        assert current() == {"locale": "de", "user": "grace", "tenant": "globex"}


def test_a_value_that_was_bound_is_read() -> None:
    variable = Variable("user", str)
    with scope(tenant="acme"):
        variable.bind("ada")
        assert variable.get() == "ada"
