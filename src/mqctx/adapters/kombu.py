"""Context through kombu, on each of its transports."""

from collections.abc import Iterator
from inspect import signature
from typing import Any, cast

from kombu.connection import Connection
from kombu.message import Message
from kombu.messaging import Consumer, Producer
from kombu.transport.base import StdChannel

from mqctx._core.context import Scope
from mqctx._core.isolation import Arguments, KeywordArguments
from mqctx._propagation import propagator as propagators
from mqctx._propagation.propagator import Propagator
from mqctx.adapters._handler import HandlerDecorator, scope_from, snapshot_from
from mqctx.adapters._instrumentation import Hook, InjectedHeaders, Instrumentation, Method

__all__ = ["consume_with_context", "instrument", "publish", "restored", "uninstrument"]

# Where `headers` stand among the positional arguments that follow the body, and what come after.
_parameters = list(signature(cast("Any", Producer).publish).parameters)[2:]
_HEADERS = _parameters.index("headers")
_NAMES = _parameters[_HEADERS:]


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
    if len(args) > _HEADERS:
        args = _by_name(args, options)
    inject = (propagator or propagators.default).inject_into
    headers = inject(options.get("headers"), options, _set_property)
    options["headers"] = InjectedHeaders(headers) if _instrumentation.in_place else headers
    untyped: Any = producer  # kombu left the method so
    return untyped.publish(body, *args, **options)


def _set_property(options: KeywordArguments, name: str, text: str) -> None:
    if options.get(name) is None:
        options[name] = text


def _by_name(args: Arguments, options: KeywordArguments) -> Arguments:
    """Put the positional arguments from the headers on among `options`; return those before."""
    options.update(zip(_NAMES, args[_HEADERS:], strict=False))
    return args[:_HEADERS]


def _property_of(message: Any, name: str) -> object:
    return message.properties.get(name)


consume_with_context = HandlerDecorator(
    -1, "message", awaited_by_client=False, property_of=_property_of
)
"""Decorate a `(body, message)` or `(message)` callback to run in its message's context."""


def restored(message: Message, /, *, propagator: Propagator | None = None) -> Scope:
    """Return a `with` block inside exactly the context that `message` brought.

    For `SimpleQueue.get`, `Queue.get` and loops of your own.
    """
    return scope_from(cast("Any", message).headers, propagator, message, _property_of)


_instrumentation = Instrumentation(Connection, StdChannel, Producer, Consumer)


def _around_publish(original: Method) -> Method:
    def publish(self: Producer, body: Any, *args: Any, **options: Any) -> Any:
        if len(args) > _HEADERS:
            args = _by_name(args, options)
        given: Any = options.get("headers")
        if isinstance(given, InjectedHeaders):
            options["headers"] = given.copy()
        else:
            propagator = _instrumentation.propagator_for(_owners(self))
            if propagator is not None:
                options["headers"] = propagator.inject_into(given, options, _set_property)
        return original(self, body, *args, **options)

    return publish


def _around_receive(original: Method) -> Method:
    # All that a message may come to is below this: decoding, on_decode_error, on_message, and
    # `receive` with the callbacks.
    def _receive_callback(self: Consumer, message: Any) -> Any:
        propagator = _instrumentation.propagator_for(_owners(self))
        if propagator is None:
            return original(self, message)
        # On py-amqp it is amqp's own kind of message as yet, with headers of the same name.
        snapshot = snapshot_from(message.headers, propagator, message, _property_of)
        return snapshot.run(original, self, message)

    return _receive_callback


def _around_clone(original: Method) -> Method:
    # ConsumerMixin and the pools work on clones of the connection that they are given.
    def clone(self: Connection, *args: Any, **options: Any) -> Any:
        cloned = original(self, *args, **options)
        _instrumentation.share(self, cloned)
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
