"""Reports of handlers that pika calls."""

import copy
from collections.abc import Hashable
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any, cast

from pika import BasicProperties, BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from mqctx.adapters._reporter import TYPE, Origin, Sender

__all__ = ["origin_of", "outlet"]


class _Sender:
    def __init__(self, parameters: Any, exchange: str) -> None:
        # Nobody is there to answer heartbeats between two reports.
        own = copy.copy(parameters)
        own.heartbeat = 0
        self._connection = BlockingConnection(own)
        self._exchange = exchange
        # Its `__exit__` is annotated as if there were always an error.
        opened: AbstractContextManager[object] = cast("Any", self._connection)
        with ExitStack() as on_error:
            on_error.enter_context(opened)
            self._channel: Any = self._connection.channel()
            try:
                self._channel.exchange_declare(exchange, "topic", durable=True)
            except ChannelClosedByBroker:  # it may be there, and not ours to declare
                self._channel = self._connection.channel()
            on_error.pop_all()

    def send(self, routing_key: str, body: bytes) -> None:
        make: Any = BasicProperties
        properties = make(type=TYPE, content_type="application/json")
        self._channel.basic_publish(self._exchange, routing_key, body, properties)
        self._connection.process_data_events(0)  # to notice what was closed

    def close(self) -> None:
        self._connection.close()


class _Outlet:
    """An outlet whose clients are the parameters of connections."""

    def key(self, client: Any) -> Hashable:
        return "pika", client.host, client.port, client.virtual_host

    def open(self, client: Any, exchange: str) -> Sender:
        return _Sender(client, exchange)


outlet = _Outlet()


def origin_of(properties: Any, arguments: tuple[Any, ...]) -> Origin:
    """Return where a message came from."""
    method = next(each for each in arguments if hasattr(each, "delivery_tag"))
    channel = next(each for each in arguments if hasattr(each, "basic_publish"))
    # Of a BlockingChannel, the connection below it: the blocking one knows no parameters.
    client = getattr(channel, "_impl", channel).connection
    address = None
    with suppress(Exception):  # the transport is pika's own affair
        host, port, *_ = client._transport._sock.getsockname()
        address = f"{host}:{port}"
    return Origin(
        client=client.params,
        outlet=outlet,
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        exchange=method.exchange,
        routing_key=method.routing_key,
        redelivered=method.redelivered,
        consumer_tag=getattr(method, "consumer_tag", None),
        connection=address,
    )
