"""aio-pika; handlers are `async def`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.patterns import JsonRPC

from mqctx._core.context import as_context
from tests.drivers.handling import (
    SECONDS,
    Decorate,
    Forward,
    Handle,
    Order,
    Send,
    Settle,
    Source,
    Verdict,
)

Connect: TypeAlias = Callable[[str], Awaitable[AbstractConnection]]

plain: Connect = aio_pika.connect
robust: Connect = partial(aio_pika.connect_robust, reconnect_interval=0.05)


@asynccontextmanager
async def aio_pika_channel(url: str, connect: Connect = plain) -> AsyncIterator[AbstractChannel]:
    """Open a connection with one channel, for so long as anything may take."""
    async with asyncio.timeout(SECONDS), await connect(url) as connection:
        yield await connection.channel()


async def send_raw(exchange: Any, message: Any, routing_key: str, **options: Any) -> Any:
    """Publish as the client does, with the arguments of the adapter's `publish`."""
    return await exchange.publish(message, routing_key, **options)


def deliver(
    send: Send, url: str, queue: str, orders: Sequence[Order], properties: dict[str, Any]
) -> None:
    """Publish each order in its context, all on one connection, with confirms."""

    async def main() -> None:
        async with aio_pika_channel(url) as channel:
            for context, body in orders:
                with as_context(context).scope():
                    message = aio_pika.Message(body, **properties)
                    await send(channel.default_exchange, message, queue)

    asyncio.run(main())


class AioPikaWork:
    """The messages that are to be handled, on a channel of a new connection."""

    def __init__(self, channel: AbstractChannel, handle: Handle, count: int) -> None:
        self.channel = channel
        self.left = count
        # What a robust connection opens again does not count as closed.
        self._closed = asyncio.ensure_future(channel.closed())
        self._handle = handle
        self._finished = asyncio.get_running_loop().create_future()

    async def do(self, message: AbstractIncomingMessage, send: Send) -> None:
        """Handle and settle a message."""
        await asyncio.sleep(0)
        await self.finish(self.settle(message, self.judge(message), send))

    def judge(self, message: AbstractIncomingMessage) -> Verdict:
        """Handle a message."""
        return self._handle(message.body, message.headers)

    def judge_payload(self, **payload: Any) -> Verdict:
        """Handle what a function of a pattern gets of a message."""
        return self._handle(JsonRPC.SERIALIZER.dumps(payload).encode(), {})

    async def finish(self, settling: Awaitable[None]) -> None:
        """Settle a message, which is one less to wait for."""
        try:
            await settling
        except Exception as error:
            self._finished.set_exception(error)
            raise
        self.left -= 1
        if not self.left:
            self._finished.set_result(None)

    async def wait(self) -> None:
        """Wait for the last message."""
        ends = {self._finished, self._closed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not self._finished.done():
            raise ConnectionResetError(f"closed, with {self.left} messages to come")
        await self._finished

    async def settle(self, message: AbstractIncomingMessage, verdict: Verdict, send: Send) -> None:
        """Do with a message what its handler says."""
        if isinstance(verdict, Forward):
            with verdict.scope():
                await send(self.channel.default_exchange, message, verdict.queue)
            await message.ack()
        elif verdict is Settle.ACK:
            await message.ack()
        elif verdict is not Settle.LEAVE:
            await message.reject(requeue=verdict is Settle.REQUEUE)


@asynccontextmanager
async def working(
    connect: Connect, url: str, handle: Handle, count: int, prefetch: int = 1
) -> AsyncIterator[AioPikaWork]:
    """Open a connection, and a channel that holds so many messages at a time."""
    async with aio_pika_channel(url, connect) as channel:
        await channel.set_qos(prefetch_count=prefetch)
        yield AioPikaWork(channel, handle, count)


async def queue_consume(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    send: Send,
    decorate: Decorate,
    connect: Connect = plain,
    prefetch: int = 1,
) -> None:
    """`queue.consume` with an `async def`."""
    async with working(connect, url, handle, count, prefetch) as work:

        @decorate
        async def on_message(message: AbstractIncomingMessage) -> None:
            await work.do(message, send)

        queue = await work.channel.get_queue(source.name)
        await queue.consume(on_message, arguments=source.arguments)
        await work.wait()
