"""Context through pika: BlockingConnection, SelectConnection and AsyncioConnection."""

from operator import attrgetter
from typing import Any

from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.channel import Channel

from mqctx.context import Scope
from mqctx.handler import HandlerDecorator
from mqctx.propagator import Propagator, default_propagator

__all__ = ["consume_with_context", "publish", "restored"]

# The arguments of BasicProperties, in their order. copy.copy would share the headers.
_fields = attrgetter(
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


def publish(
    channel: BlockingChannel | Channel,
    exchange: str,
    routing_key: str,
    body: bytes,
    properties: BasicProperties | None = None,
    mandatory: bool = False,
    *,
    propagator: Propagator | None = None,
) -> None:
    """Call `channel.basic_publish` with the active context in the message's headers.

    `properties` and its headers stay as they are: a copy is sent.

    Raises:
        OversizeError: the context takes more bytes than the propagator allows.
        HeadersError: the headers in `properties` are not a mapping.
    """
    given = None if properties is None else properties.headers
    headers = (propagator or default_propagator()).inject(given)
    if headers or given is not None:
        copied = () if properties is None else _fields(properties)
        properties = BasicProperties(*copied)  # type: ignore[no-untyped-call]  # pika left it so
        properties.headers = headers
    return channel.basic_publish(exchange, routing_key, body, properties, mandatory)


def _headers(*args: Any, **kwargs: Any) -> Any:
    # pika calls with (channel, method, properties, body); a method or a partial has more before.
    properties = kwargs["properties"] if "properties" in kwargs else args[-2]
    return properties.headers


consume_with_context = HandlerDecorator(_headers, awaited_by_client=False)
"""Decorate a `(channel, method, properties, body)` callback to run in its message's context."""


def restored(
    properties: BasicProperties | None, /, *, propagator: Propagator | None = None
) -> Scope:
    """Return a `with` block inside exactly the context that a message brought.

    For `channel.consume(...)` and `basic_get`, which give the properties beside the body. None,
    which they give where there is no message, means the empty context.
    """
    headers = None if properties is None else properties.headers
    return (propagator or default_propagator()).extract(headers).scope()
