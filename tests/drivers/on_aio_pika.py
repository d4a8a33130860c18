"""aio-pika; handlers are `async def`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, TypeAlias

import aio_pika
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractRobustConnection,
    AbstractRobustQueue,
)
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aio_pika.patterns import JsonRPC

import mqctx
from mqctx.adapters.aio_pika import consume_with_context, publish
from tests.drivers.flow import FLOW_SECONDS, NO_SUCH_TAG, Flow, Role
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
    context_of,
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
                with mqctx.Context(context).scope():
                    message = aio_pika.Message(body, **properties)
                    await send(channel.default_exchange, message, queue)

    asyncio.run(main())


class AioPikaWork:
    """The messages that are to be handled, on a channel of a new connection."""

    def __init__(self, channel: AbstractChannel, handle: Handle, count: int) -> None:
        self.channel = channel
        self.left = count
        # A channel that a robust connection opens again does not count as closed.
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


# Through faults: a robust connection restores its channels and consumers, and what is not
# confirmed is published again, several messages in flight.

SURVIVES_CANCEL = int(version("aio-pika").partition(".")[0]) >= 10
"""Whether a robust channel consumes again after the broker cancelled its consumer."""

IN_FLIGHT = 10


def publish_through(flow: Flow) -> None:
    """Publish some messages at a time through one channel."""

    async def main() -> None:
        async with await connect_robust(flow.url) as connection:
            channel = await opened_channel(connection, flow, "publisher")
            while numbers := await asyncio.to_thread(flow.take_some, IN_FLIGHT):
                await asyncio.gather(
                    *(_publish_until_confirmed(channel, flow, number) for number in numbers)
                )

    asyncio.run(main())


def consume_through(flow: Flow) -> None:
    """Consume once, and leave the rest to the robust connection."""

    @consume_with_context
    async def on_message(message: AbstractIncomingMessage) -> None:
        with flow.handling(message.body):
            await asyncio.sleep(0)
        if flow.must_spoil("consumer"):
            await message.channel.basic_ack(NO_SUCH_TAG)
        await message.ack()

    async def main() -> None:
        async with await connect_robust(flow.url) as connection:
            channel = await opened_channel(connection, flow, "consumer")
            await channel.set_qos(prefetch_count=20)
            await (await declared(channel, flow)).consume(on_message)
            await asyncio.to_thread(flow.join)

    asyncio.run(main())


async def connect_robust(url: str) -> AbstractRobustConnection:
    """Open a connection that tries again each half second."""
    return await aio_pika.connect_robust(url, reconnect_interval=0.5, timeout=FLOW_SECONDS)


async def opened_channel(connection: AbstractRobustConnection, flow: Flow, role: Role) -> Any:
    """Open a channel that gives the flow notice of each time it was opened again."""
    channel: Any = await connection.channel(on_return_raises=True)
    channel.reopen_callbacks.add(lambda *_: flow.interrupted(role))
    return channel


async def declared(channel: Any, flow: Flow) -> AbstractRobustQueue:
    """Declare the flow's queue."""
    queue: AbstractRobustQueue = await channel.declare_queue(
        flow.queue, durable=True, arguments=flow.arguments
    )
    return queue


async def _publish_until_confirmed(channel: Any, flow: Flow, number: int) -> None:
    while number not in flow.record.confirmed:
        try:
            if flow.must_spoil("publisher"):
                await _publish(await channel.get_exchange("no-such-exchange", ensure=False), "", -1)
            await _publish(channel.default_exchange, flow.queue, number)
            flow.confirm(number)
        except CONNECTION_EXCEPTIONS:
            await asyncio.wait_for(channel.ready(), FLOW_SECONDS)


async def _publish(exchange: Any, routing_key: str, number: int) -> None:
    body = str(number).encode()
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    with context_of(number).scope():
        await publish(exchange, message, routing_key, timeout=FLOW_SECONDS)
