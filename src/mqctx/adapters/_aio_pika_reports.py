"""Reports of handlers that aio-pika calls."""

import asyncio
from collections.abc import Hashable
from typing import Any, Final

import aiormq
from aiormq.exceptions import AMQPChannelError

from mqctx.adapters._reporter import TYPE, Origin, Sender

__all__ = ["origin_of", "outlet"]

_SECONDS: Final = 15.0


class _Sender:
    """A connection on a loop of its own, which runs only while something is sent."""

    def __init__(self, client: Any, exchange: str) -> None:
        self._exchange = exchange
        # The thread that sends reports has no loop, and the application's is for its own thread.
        self._loop = asyncio.new_event_loop()
        self._connection: Any = None
        try:
            self._run(self._open(client))
        except BaseException:
            self.close()
            raise

    async def _open(self, client: Any) -> None:
        # Nobody is there to answer heartbeats between two reports.
        url = client.url.update_query(heartbeat="0")
        self._connection = await aiormq.connect(url, context=client.ssl_context)
        self._channel = await self._connection.channel(publisher_confirms=False)
        try:
            await self._channel.exchange_declare(
                self._exchange, exchange_type="topic", durable=True
            )
        except AMQPChannelError:  # it may be there, and not ours to declare
            self._channel = await self._connection.channel(publisher_confirms=False)

    def send(self, routing_key: str, body: bytes) -> None:
        properties = aiormq.spec.Basic.Properties(
            message_type=TYPE, content_type="application/json"
        )
        self._run(
            self._channel.basic_publish(
                body, exchange=self._exchange, routing_key=routing_key, properties=properties
            )
        )

    def close(self) -> None:
        try:
            if self._connection is not None:
                self._run(self._connection.close())
        finally:
            self._loop.close()

    def _run(self, work: Any) -> None:
        self._loop.run_until_complete(asyncio.wait_for(work, _SECONDS))


class _Outlet:
    def key(self, client: Any) -> Hashable:
        return "aio-pika", str(client.url)

    def open(self, client: Any, exchange: str) -> Sender:
        return _Sender(client, exchange)


outlet = _Outlet()


def origin_of(message: Any, _arguments: tuple[Any, ...]) -> Origin:
    """Return where a message came from."""
    return Origin(
        client=message.channel.connection,
        outlet=outlet,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        exchange=message.exchange,
        routing_key=message.routing_key,
        redelivered=message.redelivered,
        consumer_tag=message.consumer_tag,
    )
