"""Reports of handlers that kombu calls, where it speaks AMQP."""

from collections.abc import Hashable
from contextlib import ExitStack, suppress
from typing import Any

from kombu.transport import pyamqp

from mqctx.adapters._reporter import TYPE, Origin, Sender

__all__ = ["origin_of", "outlet"]


class _Sender:
    def __init__(self, client: Any, exchange: str) -> None:
        # A clone: to publish on the connection that consumes could run another handler.
        self._client = client.clone(heartbeat=0)
        self._exchange = exchange
        with ExitStack() as on_error:
            on_error.enter_context(self._client)
            self._channel = self._client.channel()
            try:
                self._channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
            except self._client.channel_errors:  # it may be there, and not ours to declare
                self._channel = self._client.channel()
            on_error.pop_all()

    def send(self, routing_key: str, body: bytes) -> None:
        properties = {"type": TYPE}
        channel = self._channel
        message = channel.prepare_message(
            body, content_type="application/json", properties=properties
        )
        channel.basic_publish(message, exchange=self._exchange, routing_key=routing_key)

    def close(self) -> None:
        self._client.release()


class _Outlet:
    def key(self, client: Any) -> Hashable:
        return "kombu", client.as_uri()

    def open(self, client: Any, exchange: str) -> Sender:
        return _Sender(client, exchange)


outlet = _Outlet()


def origin_of(message: Any, _arguments: tuple[Any, ...]) -> Origin:
    """Return where a message came from.

    Raises:
        AttributeError: its transport does not speak AMQP, and has no outlet of its own.
    """
    channel: Any = message.channel
    connection = channel.connection
    info: dict[str, Any] = message.delivery_info
    address = None
    with suppress(Exception):  # the transport is py-amqp's own affair
        host, port, *_ = connection.sock.getsockname()
        address = f"{host}:{port}"
    return Origin(
        client=connection.client,
        outlet=outlet if isinstance(channel, pyamqp.Channel) else channel.mqctx_outlet,
        message_id=message.properties.get("message_id"),
        correlation_id=message.properties.get("correlation_id"),
        exchange=info.get("exchange"),
        routing_key=info.get("routing_key"),
        redelivered=info.get("redelivered"),
        consumer_tag=info.get("consumer_tag"),
        connection=address,
    )
