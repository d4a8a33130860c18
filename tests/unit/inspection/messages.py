"""Messages as they come from a queue, made without one."""

from typing import Any

from pika import spec

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection import Message
from mqctx.inspection._connection import Delivery
from mqctx.inspection._contexts import ContextReader


def header(**properties: Any) -> ContentHeader:
    """Return the bytes that pika writes for these properties."""
    return ContentHeader(b"".join(spec.BasicProperties(**properties).encode()))


def message(
    headers: dict[str, Any] | None = None,
    *,
    body: bytes = b"",
    queue: str = "orders.dead",
    position: int = 1,
    exchange: str = "",
    key: str = "orders.dead",
    keys: dict[str, str | bytes] | None = None,
    **properties: Any,
) -> Message:
    """Return a message with these headers and properties."""
    delivery = Delivery(1, exchange, key, False, header(headers=headers, **properties), body)
    return Message(queue, position, delivery, ContextReader(keys))


def of_tenant(tenant: str | None, request: str = "r-1", **more: Any) -> Message:
    """Return a message whose context has a tenant and a request id."""
    named = "" if tenant is None else f'"tenant":"{tenant}",'
    return message({"mqctx": f'{{{named}"request_id":"{request}"}}', **more})
