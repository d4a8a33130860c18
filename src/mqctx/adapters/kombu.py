"""Context through kombu, on each of its transports."""

from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any, cast

from kombu.connection import Connection
from kombu.message import Message
from kombu.messaging import Consumer, Producer
from kombu.transport.base import StdChannel

from mqctx.context import Scope
from mqctx.handler import HandlerDecorator, scope_from, space_from
from mqctx.instrumentation import Hook, InjectedHeaders, Instrumentation, Method
from mqctx.propagator import Propagator, default_propagator

__all__ = ["consume_with_context", "instrument", "publish", "restored", "uninstrument"]

# Where `headers` stand among the positional arguments that follow the body.
_HEADERS = list(signature(cast("Any", Producer).publish).parameters).index("headers") - 2


def publish(
    producer: Producer,
    body: Any,
    *args: Any,
    propagator: Propagator | None = None,
    **options: Any,
) -> Any:
    """Call `producer.publish` with the active context in the message's headers.

    The headers given, by name or by position, stay as they are: a copy is sent.

    Raises:
        OversizeError: the context takes more bytes than the propagator allows.
        HeadersError: the headers given are not a mapping.
    """
    inject = (propagator or default_propagator()).inject

    def change(given: Any) -> dict[str, Any]:
        headers = inject(given)
        return InjectedHeaders(headers) if _instrumentation.in_place else headers

    args = _with_headers(args, options, change)
    return cast("Any", producer).publish(body, *args, **options)


def _with_headers(
    args: tuple[Any, ...], options: dict[str, Any], change: Callable[[Any], dict[str, Any]]
) -> tuple[Any, ...]:
    """Return positional arguments with changed headers, or change those among the options."""
    if len(args) > _HEADERS:
        return (*args[:_HEADERS], change(args[_HEADERS]), *args[_HEADERS + 1 :])
    options["headers"] = change(options.get("headers"))
    return args


def _headers(*args: Any, **kwargs: Any) -> Any:
    # kombu calls with (body, message) or (message); a method or a partial has more before.
    message = kwargs["message"] if "message" in kwargs else args[-1]
    return message.headers


consume_with_context = HandlerDecorator(_headers, awaited_by_client=False)
"""Decorate a `(body, message)` or `(message)` callback to run in its message's context."""


def restored(message: Message, /, *, propagator: Propagator | None = None) -> Scope:
    """Return a `with` block inside exactly the context that `message` brought.

    For `SimpleQueue.get`, `Queue.get` and loops of your own.
    """
    return scope_from(_headers(message), propagator)


_instrumentation = Instrumentation(Connection, StdChannel, Producer, Consumer)


def _around_publish(original: Method) -> Method:
    def publish(self: Producer, body: Any, *args: Any, **options: Any) -> Any:
        propagator = _instrumentation.propagator_for(_owners(self))

        def change(given: Any) -> Any:
            if isinstance(given, InjectedHeaders):
                return dict(given)
            return given if propagator is None else propagator.inject(given)

        return original(self, body, *_with_headers(args, options, change), **options)

    return publish


def _around_receive(original: Method) -> Method:
    # All that a message may come to is below this: decoding, on_decode_error, on_message, and
    # `receive` with the callbacks.
    def _receive_callback(self: Consumer, message: Any) -> Any:
        propagator = _instrumentation.propagator_for(_owners(self))
        if propagator is None:
            return original(self, message)
        # On py-amqp it is amqp's own kind of message as yet, with headers of the same name.
        return space_from(message.headers, propagator).run(original, self, message)

    return _receive_callback


def _around_clone(original: Method) -> Method:
    # ConsumerMixin and the pools work on clones of the connection that they are given.
    def clone(self: Connection, *args: Any, **options: Any) -> Any:
        cloned = original(self, *args, **options)
        _instrumentation.adopt(cloned, self)
        return cloned

    return clone


def _owners(user: Any) -> Iterator[object]:
    yield user
    yield user.channel
    yield user.connection


_instrumentation.use(
    Hook(Producer, "publish", _around_publish),
    Hook(Consumer, "_receive_callback", _around_receive),
    Hook(Connection, "clone", _around_clone),
)
instrument = _instrumentation.instrument
uninstrument = _instrumentation.uninstrument
