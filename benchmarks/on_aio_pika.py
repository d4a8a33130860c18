"""aio-pika: a publish and a handler in each way, on a silent channel and on a broker."""

import asyncio
from collections.abc import Awaitable, Callable
from time import process_time
from types import SimpleNamespace
from typing import Any, cast

from aio_pika import Exchange, IncomingMessage, Message
from aiormq.abc import DeliveredMessage
from opentelemetry import trace
from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor
from opentelemetry.instrumentation.aio_pika.callback_decorator import CallbackDecorator
from opentelemetry.instrumentation.aio_pika.publish_decorator import PublishDecorator
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from yarl import URL

from benchmarks import ways
from mqctx.adapters.aio_pika import consume_with_context, publish
from tests.drivers.on_aio_pika import plain


class _SilentChannel:
    """As much of a channel as a real Exchange needs below it; it sends nothing."""

    is_closed = False
    connection = SimpleNamespace(url=URL("amqp://localhost"))
    _connection = connection

    async def get_underlay_channel(self) -> "_SilentChannel":
        return self

    async def basic_publish(self, **publish: Any) -> None:
        pass


def silent() -> Exchange:
    """Make a real Exchange, on a channel that sends nothing."""
    return Exchange(cast("Any", _SilentChannel()), "orders")


def message() -> tuple[Any, ...]:
    """Make what a caller publishes: a Message."""
    return (Message(ways.BODY, content_type="text/plain", delivery_mode=1),)


def delivery(headers: dict[str, str]) -> tuple[Any, ...]:
    """Make the arguments of a callback."""
    header = ContentHeader(0, len(ways.BODY), Basic.Properties(headers=cast("Any", headers)))
    deliver = Basic.Deliver(consumer_tag="c", delivery_tag=1, exchange="", routing_key="orders")
    return (IncomingMessage(DeliveredMessage(deliver, header, ways.BODY, cast("Any", None))),)


def publisher(way: str, exchange: Any, key: str = "orders") -> Callable[..., Awaitable[object]]:
    """Return what publishes a message in this way to an exchange."""

    async def raw(message: Any) -> None:
        await exchange.publish(message, key)

    async def one(message: Any) -> None:
        message.headers = ways.one_header()
        await exchange.publish(message, key)

    async def five(message: Any) -> None:
        message.headers = ways.five_headers()
        await exchange.publish(message, key)

    async def with_mqctx(message: Any) -> None:
        await publish(exchange, message, key)

    async def instrumented(message: Any) -> None:
        await decorated(message, key)

    if way == ways.OTEL:
        decorator = PublishDecorator(trace.get_tracer("aio-pika"), exchange)
        decorated = cast("Any", decorator).decorate(exchange.publish)
    known = {ways.ONE: one, ways.FIVE: five, ways.OTEL: instrumented}
    return known.get(way, with_mqctx if way in ways.OURS else raw)


def handler(way: str, callback: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return the `async def` callback with the message's context active in this way."""

    async def five(message: Any) -> None:
        held = ways.kept.set(ways.from_five(message.headers))
        try:
            await callback(message)
        finally:
            ways.kept.reset(held)

    if way == ways.OTEL:
        queue = cast("Any", SimpleNamespace(channel=_SilentChannel()))
        decorator: Any = CallbackDecorator(trace.get_tracer("aio-pika"), queue)
        return cast("Callable[..., Awaitable[None]]", decorator.decorate(callback))
    if way in ways.OURS:
        return consume_with_context(callback)
    return five if way == ways.FIVE else callback


async def quiet(*_: object) -> None:
    """Do nothing with a message."""


def receiver(callback: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return what a connection calls: the callback itself."""
    return callback


class Session:
    """A connection and a queue, used in one way, on a loop that runs during each of the calls."""

    def __init__(self, url: str, way: str) -> None:
        self._way = way
        self._own = ways.RAW if way == ways.OTEL else way  # what is installed does the rest
        self._runner = asyncio.Runner()
        self._runner.run(self._open(url))

    async def _open(self, url: str) -> None:
        self._connection = await plain(f"{url}?heartbeat=0")
        channel = await self._connection.channel(publisher_confirms=False)
        await channel.set_qos(ways.PREFETCH)
        self._queue = await channel.declare_queue(exclusive=True)
        with ways.installed(AioPikaInstrumentor, self._way):
            # Wrapped while it is instrumented, it stays so.
            exchange = SimpleNamespace(publish=channel.default_exchange.publish)
        self._publish = publisher(self._own, exchange, self._queue.name)

    def publish(self, count: int) -> None:
        """Publish so many messages."""

        async def main() -> None:
            for _ in ways.messages(self._way, count):
                await self._publish(*message())

        self._runner.run(main())

    def consume(self, count: int, seen: Callable[[], object] = int) -> float:
        """Consume so many that wait; return the CPU seconds until the last ack."""
        return self._runner.run(self._consume(count, seen))

    async def _consume(self, count: int, seen: Callable[[], object]) -> float:
        left, done = [None] * count, asyncio.Event()

        async def callback(message: Any) -> None:
            left.pop()
            seen()
            await message.ack()
            if not left:
                done.set()

        with ways.installed(AioPikaInstrumentor, self._way):
            decorated, start = handler(self._own, callback), process_time()
            tag = await self._queue.consume(decorated)
        await asyncio.wait_for(done.wait(), ways.TIMEOUT)
        seconds = process_time() - start
        await self._queue.cancel(tag)
        return seconds

    def close(self) -> None:
        """Close the connection, and with it the queue."""
        self._runner.run(self._connection.close())
        self._runner.close()
