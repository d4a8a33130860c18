"""aio-pika: connections, and the messages that a path has to handle on one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.patterns import JsonRPC

from tests.conformance.model import SECONDS, Forward, Handle, Settle, Verdict

Publish: TypeAlias = Callable[..., Awaitable[Any]]
Connect: TypeAlias = Callable[[str], Awaitable[AbstractConnection]]

plain: Connect = aio_pika.connect
robust: Connect = partial(aio_pika.connect_robust, reconnect_interval=0.05)


async def publish_raw(exchange: Any, message: Any, routing_key: str, **options: Any) -> Any:
    """Publish as the client does, with the arguments of the adapter's `publish`."""
    return await exchange.publish(message, routing_key, **options)


class Work:
    """The messages that a path has to handle, on a channel of a new connection."""

    def __init__(self, channel: AbstractChannel, handle: Handle, count: int) -> None:
        self.channel = channel
        self.left = count
        # What a robust connection opens again does not count as closed.
        self._closed = asyncio.ensure_future(channel.closed())
        self._handle = handle
        self._finished = asyncio.get_running_loop().create_future()

    async def do(self, message: AbstractIncomingMessage, publish: Publish) -> None:
        """Handle and settle a message."""
        await asyncio.sleep(0)
        await self.finish(self.settle(message, self.judge(message), publish))

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

    async def settle(
        self, message: AbstractIncomingMessage, verdict: Verdict, publish: Publish
    ) -> None:
        """Do with a message what its handler says."""
        if isinstance(verdict, Forward):
            with verdict.scope():
                await publish(self.channel.default_exchange, message, verdict.queue)
            await message.ack()
        elif verdict is Settle.ACK:
            await message.ack()
        elif verdict is not Settle.LEAVE:
            await message.reject(requeue=verdict is Settle.REQUEUE)


@asynccontextmanager
async def opened(connect: Connect, url: str, handle: Handle, count: int) -> AsyncIterator[Work]:
    """Open a connection, and a channel that holds one message at a time."""
    async with asyncio.timeout(SECONDS), await connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        yield Work(channel, handle, count)
