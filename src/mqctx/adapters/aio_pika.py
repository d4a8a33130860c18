"""Context through aio-pika: plain and robust connections."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from aio_pika.abc import AbstractExchange, AbstractIncomingMessage, AbstractMessage

from mqctx.context import Scope
from mqctx.handler import HandlerDecorator
from mqctx.propagator import Propagator, default_propagator

if TYPE_CHECKING:
    from aiormq import spec

__all__ = ["consume_with_context", "publish", "restored"]


class _Outgoing:
    """What `Exchange.publish` reads of a message, with headers of its own.

    `copy.copy` of a Message would share the headers, and takes longer than all else here.
    """

    __slots__ = ("_message", "body", "properties")

    def __init__(self, message: AbstractMessage, properties: "spec.Basic.Properties") -> None:
        self._message = message
        self.body = message.body
        self.properties = properties

    @property
    def headers(self) -> Any:
        return self.properties.headers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)

    def __repr__(self) -> str:
        return repr(self._message)


def publish(
    exchange: AbstractExchange,
    message: AbstractMessage,
    routing_key: str,
    *,
    propagator: Propagator | None = None,
    **options: Any,
) -> Coroutine[Any, Any, Any]:
    """Await `exchange.publish` with the context that is active at this call in the headers.

    `message` and its headers stay as they are: a copy is sent.

    Raises:
        OversizeError: the context takes more bytes than the propagator allows.
        HeadersError: the headers of `message` are not a mapping.
    """
    properties = message.properties
    properties.headers = (propagator or default_propagator()).inject(message.headers)
    outgoing = cast("AbstractMessage", _Outgoing(message, properties))
    return exchange.publish(outgoing, routing_key, **options)


def _headers(*args: Any, **kwargs: Any) -> Any:
    # aio-pika calls with (message); a method or a partial has more before.
    message = kwargs["message"] if "message" in kwargs else args[-1]
    return message.headers


consume_with_context = HandlerDecorator(_headers, awaited_by_client=True)
"""Decorate a `(message)` callback, sync or `async def`, to run in its message's context."""


def restored(message: AbstractIncomingMessage, /, *, propagator: Propagator | None = None) -> Scope:
    """Return a `with` block inside exactly the context that `message` brought.

    For `async for message in queue.iterator()` and `queue.get`.
    """
    return (propagator or default_propagator()).extract(message.headers).scope()
