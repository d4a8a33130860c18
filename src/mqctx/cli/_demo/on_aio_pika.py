"""The web service on aio-pika."""

from typing import Final

import aio_pika
import msgspec
from aio_pika.abc import AbstractExchange

from mqctx.adapters.aio_pika import publish
from mqctx.cli._demo.stage import Stage
from mqctx.cli._demo.web import serve

_CONNECT_SECONDS: Final = 5.0


async def web(stage: Stage) -> None:
    """Serve the requests."""
    connection = await aio_pika.connect(stage.url, timeout=_CONNECT_SECONDS)
    async with connection:
        channel = await connection.channel()
        await serve(stage, "aio-pika", _Outbox(channel.default_exchange, stage.orders))


class _Outbox(msgspec.Struct, frozen=True):
    exchange: AbstractExchange
    queue: str

    async def send(self, order: str) -> None:
        await publish(self.exchange, aio_pika.Message(order.encode()), self.queue)

    async def send_without_context(self, order: str) -> None:
        await self.exchange.publish(aio_pika.Message(order.encode()), self.queue)
