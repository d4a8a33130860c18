"""A decorated handler's message is found, however the handler is declared and called."""

import functools
from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import mqctx
from mqctx import Context, Propagator, current, scope
from mqctx.formats import FlatFormat, JsonFormat
from mqctx.formats.flat import CORRELATION_ID
from tests.adapters.clients import CLIENTS, Headers

ADA: Headers = {"mqctx": '{"user":"ada"}'}


def on_pika(channel: Any, method: Any, props: Any, body: Any, db: Any = None) -> Context:
    return current()


def on_kombu(data: Any, msg: Any, db: Any = None) -> Context:
    return current()


def on_kombu_message(msg: Any, db: Any = None) -> Context:
    return current()


async def on_aio_pika(msg: Any, db: Any = None) -> Context:
    return current()


HANDLERS: list[tuple[str, Callable[..., Any]]] = [
    ("pika", on_pika),
    ("kombu", on_kombu),
    ("kombu", on_kombu_message),
    ("aio-pika", on_aio_pika),
]


@pytest.fixture(params=HANDLERS, ids=lambda pair: pair[1].__name__)
def decorated(request: pytest.FixtureRequest) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Give a handler, decorated, and what its client calls it with, by its own names."""
    client, handler = request.param
    delivery = CLIENTS[client].delivery(ADA)
    names = [name for name in handler.__annotations__ if name not in ("db", "return")]
    arguments = dict(zip(names, delivery[-len(names) :], strict=True))
    decorate = CLIENTS[client].adapter.consume_with_context
    return decorate(handler), arguments


def returned(handled: Any) -> Any:
    """Return what a handler returns; an `async def` here waits for nothing."""
    if not hasattr(handled, "send"):
        return handled
    with pytest.raises(StopIteration) as finished:
        handled.send(None)
    return finished.value.value


def test_arguments_of_ones_own_may_follow_by_position(decorated: Any) -> None:
    handler, arguments = decorated
    assert returned(handler(*arguments.values(), "db")) == {"user": "ada"}


def test_arguments_of_ones_own_may_follow_by_name(decorated: Any) -> None:
    handler, arguments = decorated
    assert returned(handler(*arguments.values(), db="db")) == {"user": "ada"}


def test_all_may_be_given_by_names_that_are_not_the_clients(decorated: Any) -> None:
    handler, arguments = decorated
    assert returned(handler(**arguments, db="db")) == {"user": "ada"}


def test_a_partial_may_give_what_follows(decorated: Any) -> None:
    handler, arguments = decorated
    assert returned(functools.partial(handler, db="db")(*arguments.values())) == {"user": "ada"}


def test_too_few_arguments_are_pythons_own_error(decorated: Any) -> None:
    handler, _ = decorated
    with pytest.raises(TypeError, match=r"missing \d required positional argument"):
        returned(handler())


def pika_handlers() -> dict[str, Callable[..., Context]]:
    """Return pika handlers that take something of their own before, amid or after."""
    consume = CLIENTS["pika"].adapter.consume_with_context

    class Worker:
        @consume
        def method(self, ch: Any, deliver: Any, props: Any, body: Any, db: Any = None) -> Context:
            return current()

        @classmethod
        @consume
        def of_class(cls, ch: Any, deliver: Any, props: Any, text: Any, db: Any) -> Context:
            return current()

        @staticmethod
        @consume
        def static(ch: Any, deliver: Any, props: Any, text: Any, db: Any = None) -> Context:
            return current()

    @consume
    def with_two_required(ch: Any, deliver: Any, props: Any, text: Any, db: Any) -> Context:
        return current()

    @consume
    def with_rest(ch: Any, method: Any, props: Any, *rest: Any) -> Context:
        return current()

    @consume
    def with_anything(*args: Any, **kwargs: Any) -> Context:
        return current()

    @consume
    def with_defaults(a: Any = 1, b: Any = 2, c: Any = 3, d: Any = 4, db: Any = 5) -> Context:
        return current()

    def first(db: Any, ch: Any, deliver: Any, props: Any, text: Any, more: Any = 0) -> Context:
        return current()

    def renamed(ch: Any, _properties: Any, text: Any, db: Any) -> Context:
        return current()

    unnamed = consume(functools.partial(first, "db"))
    method = Worker().method
    return {
        "method": method,
        "class method": Worker.of_class,
        "static method": Worker.static,
        "two required": with_two_required,
        "rest": with_rest,
        "anything": with_anything,
        "defaults": with_defaults,
        "partial": unnamed,
        "own names": lambda ch, method, props, body, db: consume(renamed)(ch, props, body, db),
    }


@pytest.mark.parametrize("kind", pika_handlers())
def test_an_unusual_handler_finds_its_message(kind: str) -> None:
    handler = pika_handlers()[kind]
    assert handler(*CLIENTS["pika"].delivery(ADA), "db") == {"user": "ada"}


def test_a_handler_that_takes_all_by_name_only_finds_its_message() -> None:
    @CLIENTS["pika"].adapter.consume_with_context
    def handler(*, ch: Any, method: Any, props: Any, body: Any) -> Context:
        return current()

    channel, method, properties, body = CLIENTS["pika"].delivery(ADA)
    assert handler(ch=channel, method=method, props=properties, body=body) == {"user": "ada"}


def test_a_name_that_cannot_be_where_it_is_does_not_mislead() -> None:
    @CLIENTS["pika"].adapter.consume_with_context
    def handler(body: Any, *rest: Any) -> Context:
        return current()

    assert handler(*CLIENTS["pika"].delivery(ADA)) == {"user": "ada"}


def test_what_comes_before_may_be_given_by_a_partial_outside() -> None:
    @CLIENTS["kombu"].adapter.consume_with_context
    def handler(db: Any, data: Any, msg: Any) -> Context:
        return current()

    assert functools.partial(handler, "db")(*CLIENTS["kombu"].delivery(ADA)) == {"user": "ada"}


def test_a_body_that_is_called_message_is_not_taken_for_one() -> None:
    @CLIENTS["kombu"].adapter.consume_with_context
    def handler(message: Any, raw: Any) -> Context:
        return current()

    assert handler(*CLIENTS["kombu"].delivery(ADA)) == {"user": "ada"}


def test_a_built_in_function_without_a_signature_may_handle() -> None:
    class Signature:
        __signature__ = "none"

        def __call__(self, *_: object) -> Context:
            return current()

    for client in CLIENTS.values():
        handler = client.adapter.consume_with_context(Signature())
        assert handler(*client.delivery(ADA)) == {"user": "ada"}


class HasHeaders:
    """An HTTP client or the like, which has headers too."""

    headers: ClassVar = {"mqctx": '{"user":"eve"}'}


def test_what_else_has_headers_is_not_taken_for_the_message() -> None:
    @CLIENTS["kombu"].adapter.consume_with_context
    def on_kombu(payload: Any, msg: Any, http: Any) -> Context:
        return current()

    @CLIENTS["aio-pika"].adapter.consume_with_context
    def on_aio_pika(msg: Any, http: Any) -> Context:
        return current()

    class Worker(HasHeaders):
        @CLIENTS["pika"].adapter.consume_with_context
        def on_pika(self, *args: Any) -> Context:
            return current()

        @CLIENTS["kombu"].adapter.consume_with_context
        def on_kombu(self, data: Any, msg: Any) -> Context:
            return current()

    handlers = (on_kombu, on_aio_pika, Worker().on_pika, Worker().on_kombu)
    names = ("kombu", "aio-pika", "pika", "kombu")
    for name, handler, more in zip(names, handlers, (1, 1, 0, 0), strict=True):
        own = [HasHeaders()] * more
        assert handler(*CLIENTS[name].delivery(ADA), *own) == {"user": "ada"}
        assert handler(*CLIENTS[name].delivery(None), *own) == {}


def test_a_message_that_a_partial_binds_is_found() -> None:
    def handler(ch: Any, method: Any, props: Any, body: Any) -> Context:
        return current()

    channel, method, properties, body = CLIENTS["pika"].delivery(ADA)
    consume = CLIENTS["pika"].adapter.consume_with_context
    assert consume(functools.partial(handler, props=properties))(channel, method, body=body) == {
        "user": "ada"
    }


def test_what_has_no_headers_has_no_context() -> None:
    class Raises:
        def __getattr__(self, name: str) -> Any:
            raise LookupError(name)

    class Ambiguous:
        @property
        def headers(self) -> Any:
            return self

        def __bool__(self) -> bool:
            raise ValueError

    foreign: list[Any] = [None, {}, {"headers": ADA}, b"42", object(), Raises(), Ambiguous()]
    reads_properties = Propagator(formats=[FlatFormat({"request_id": CORRELATION_ID})])
    for client, propagator in product(CLIENTS.values(), (None, reads_properties)):
        decorate = client.adapter.consume_with_context(propagator=propagator)
        handler = decorate(lambda *_: current())
        count = len(client.delivery(None))
        for message in foreign:
            with scope(user="ambient"):
                assert handler(*[message] * count) == {}
                with client.adapter.restored(message, propagator=propagator):
                    assert current() == {}


@pytest.mark.parametrize("properties", [None, 5, {"correlation_id": 5}])
@pytest.mark.parametrize("headers", [5, "text", ["a"], object(), {1: 2}])
def test_headers_and_properties_of_any_type_never_keep_a_message_from_its_handler(
    headers: Any, properties: Any
) -> None:
    reads_properties = FlatFormat({"request_id": CORRELATION_ID})
    message = SimpleNamespace(headers=headers, properties=properties, correlation_id=properties)
    for client in CLIENTS.values():
        for formats in ([JsonFormat()], [reads_properties]):
            propagator = Propagator(formats=formats, on_rejected=lambda _: None)
            decorate = client.adapter.consume_with_context(propagator=propagator)
            handler = decorate(lambda *_: current())
            assert handler(*[message] * len(client.delivery(None))) == {}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("given", ["orders", None, 5, mqctx.Propagator()])
def test_what_is_no_handler_is_refused_with_what_to_write(client: str, given: Any) -> None:
    consume = CLIENTS[client].adapter.consume_with_context
    with pytest.raises(mqctx.HandlerError, match="write `@consume_with_context` above a function"):
        consume(given) if given is not None else consume()(given)


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_no_propagator_is_refused(client: str) -> None:
    adapter = CLIENTS[client].adapter
    for use in (adapter.consume_with_context, adapter.instrument):
        with pytest.raises(mqctx.ConfigurationError, match="^propagator: expected one"):
            use(propagator=JsonFormat())


def test_a_stand_in_for_a_message_is_found_among_arguments_of_ones_own() -> None:
    @CLIENTS["kombu"].adapter.consume_with_context
    def on_kombu(first: Any, second: Any, third: Any) -> Context:
        return current()

    assert on_kombu(1, SimpleNamespace(headers=ADA), 2) == {"user": "ada"}
