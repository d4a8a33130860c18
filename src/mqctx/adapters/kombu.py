"""Context through kombu, on each of its transports."""

from inspect import signature
from typing import Any, cast

from kombu.message import Message
from kombu.messaging import Producer

from mqctx.context import Scope
from mqctx.handler import HandlerDecorator
from mqctx.propagator import Propagator, default_propagator

__all__ = ["consume_with_context", "publish", "restored"]

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
    send = cast("Any", producer).publish
    if len(args) > _HEADERS:
        before, given, after = args[:_HEADERS], args[_HEADERS], args[_HEADERS + 1 :]
        return send(body, *before, inject(given), *after, **options)
    options["headers"] = inject(options.get("headers"))
    return send(body, *args, **options)


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
    return (propagator or default_propagator()).extract(_headers(message)).scope()
