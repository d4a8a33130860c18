"""aio-pika through faults: a robust connection, which restores its channels and consumers."""

import asyncio
from importlib.metadata import version
from typing import Any

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from mqctx.adapters.aio_pika import consume_with_context, publish
from tests.drivers.handling import context_of

from .flow import SECONDS, Flow, Role

SURVIVES_CANCEL = int(version("aio-pika").partition(".")[0]) >= 10
"""Whether a robust channel consumes again after the broker cancelled its consumer."""

NO_SUCH_TAG = 1_000_000
IN_FLIGHT = 10


class AioPika:
    """aio-pika, several messages in flight; what is not confirmed is published again."""

    def publish(self, flow: Flow) -> None:
        """Publish some messages at a time through one channel."""

        async def main() -> None:
            async with await connect(flow.url) as connection:
                channel = await opened_channel(connection, flow, "publisher")
                while numbers := await asyncio.to_thread(flow.take_some, IN_FLIGHT):
                    await asyncio.gather(
                        *(_publish_until_confirmed(channel, flow, number) for number in numbers)
                    )

        asyncio.run(main())

    def consume(self, flow: Flow) -> None:
        """Consume once, and leave the rest to the robust connection."""

        @consume_with_context
        async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            with flow.handling(message.body):
                await asyncio.sleep(0)
            if flow.must_spoil("consumer"):
                await message.channel.basic_ack(NO_SUCH_TAG)
            await message.ack()

        async def main() -> None:
            async with await connect(flow.url) as connection:
                channel = await opened_channel(connection, flow, "consumer")
                await channel.set_qos(prefetch_count=20)
                await (await declared(channel, flow)).consume(on_message)
                await asyncio.to_thread(flow.join)

        asyncio.run(main())


async def connect(url: str) -> aio_pika.abc.AbstractRobustConnection:
    """Open a connection that tries again each half second."""
    return await aio_pika.connect_robust(url, reconnect_interval=0.5, timeout=SECONDS)


async def opened_channel(
    connection: aio_pika.abc.AbstractRobustConnection, flow: Flow, role: Role
) -> Any:
    """Open a channel that gives the flow notice of each time it was opened again."""
    channel: Any = await connection.channel(on_return_raises=True)
    channel.reopen_callbacks.add(lambda *_: flow.interrupted(role))
    return channel


async def declared(channel: Any, flow: Flow) -> aio_pika.abc.AbstractRobustQueue:
    """Declare the flow's queue."""
    queue: aio_pika.abc.AbstractRobustQueue = await channel.declare_queue(
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
            await asyncio.wait_for(channel.ready(), SECONDS)


async def _publish(exchange: Any, routing_key: str, number: int) -> None:
    body = str(number).encode()
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    with context_of(number).scope():
        await publish(exchange, message, routing_key, timeout=SECONDS)
