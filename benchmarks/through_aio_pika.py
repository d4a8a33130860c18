"""aio-pika on a real broker."""

import asyncio
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import aio_pika
from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor

from benchmarks import on_aio_pika, ways
from benchmarks.traffic import PREFETCH, TIMEOUT, Body, Seen, due


class Session:
    """A connection, a channel and a queue, on a loop that runs during each of the calls."""

    def __init__(self, url: str, way: str, *, confirms: bool = False, queue: str = "") -> None:
        self._owned = not queue
        self._installed = way
        self._way = ways.RAW if way in ways.INSTRUMENTED else way  # what is installed does it
        self._active = ways.ACTIVE[way]
        self._runner = asyncio.Runner()
        self.queue = self._runner.run(self._open(url, queue, confirms=confirms))

    def publish(self, count: int, values: ways.Values, rate: float = 0, body: Body = None) -> None:
        """Publish messages of one context, at a steady rate per second, or at once."""
        self._runner.run(self._publish_all(count, values, rate, body))

    def consume(self, count: int, seen: Seen = None) -> float:
        """Consume so many messages; return the seconds from the first callback to the last ack."""
        return self._runner.run(self._consume(count, seen))

    def purge(self) -> None:
        """Wait until the broker took all that was published, and throw it away."""
        self._runner.run(self._queue.purge())

    def close(self) -> None:
        """Delete the queue, if it was made here, and close the connection."""
        if self._owned:
            self._runner.run(self._queue.delete(if_unused=False, if_empty=False))
        self._runner.run(self._connection.close())
        self._runner.close()

    async def _open(self, url: str, queue: str, *, confirms: bool) -> str:
        self._connection = await aio_pika.connect(url, heartbeat=0)
        channel = await self._connection.channel(publisher_confirms=confirms)
        await channel.set_qos(PREFETCH)
        self._queue = await (channel.get_queue(queue) if queue else channel.declare_queue())
        with ways.installed(AioPikaInstrumentor(), self._installed):
            # Wrapped while it is instrumented, it stays so.
            exchange = SimpleNamespace(publish=channel.default_exchange.publish)
        self._publish = on_aio_pika.publisher(self._way, exchange, self._queue.name)
        return self._queue.name

    async def _publish_all(self, count: int, values: ways.Values, rate: float, body: Body) -> None:
        with self._active(values)():
            for wait in due(count, rate):
                if wait > 0:
                    await asyncio.sleep(wait)
                await self._publish(*on_aio_pika.message(body() if body else on_aio_pika.BODY))

    async def _consume(self, count: int, seen: Seen) -> float:
        times: list[float] = []
        done = asyncio.Event()

        async def callback(message: Any) -> None:
            times.append(perf_counter())
            if seen:
                seen(message.body)
            await message.ack()
            if len(times) == count:
                done.set()

        with ways.installed(AioPikaInstrumentor(), self._installed):
            tag = await self._queue.consume(on_aio_pika.handler(self._way, callback))
        await asyncio.wait_for(done.wait(), TIMEOUT)
        seconds = perf_counter() - times[0]
        await self._queue.cancel(tag)
        return seconds
