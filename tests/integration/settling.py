"""Consumers of every client whose messages mqctx settles, and the queues around them."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

import aio_pika
import kombu
import pika
import pika.exceptions
from pika.adapters.asyncio_connection import AsyncioConnection

from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from mqctx.adapters.aio_pika import settled as aio_pika_settled
from mqctx.adapters.kombu import settled as kombu_settled
from mqctx.adapters.pika import settled as pika_settled
from tests.drivers.handling import SECONDS
from tests.drivers.on_kombu import body_of
from tests.drivers.on_pika import pika_channel
from tests.drivers.raw_properties import Raw, parts, take_raw

Handle: TypeAlias = Callable[[bytes, Callable[[], Any]], object]
"""Gets a body, and a function that acknowledges its message, whose result must be awaited."""
Done: TypeAlias = Callable[[], bool]


class Consume(Protocol):
    """Consumes a queue until it is done; handlers have the name `on_message`."""

    def __call__(self, url: str, queue: str, handle: Handle, done: Done, dead_letter: Any) -> None:
        """Give each message to `handle`, in a handler or a block that mqctx settles."""
        ...


@dataclass(frozen=True, slots=True)
class Dead:
    """A message in the queue of dead letters."""

    properties: bytes
    body: bytes

    @property
    def parts(self) -> Raw:
        """Its properties and headers, each as bytes."""
        return parts(self.properties)

    @property
    def failure(self) -> dict[str, Any]:
        """The record that it brought."""
        found: dict[str, Any] = json.loads(self.parts.text("mqctx-failure"))
        return found


class Bench:
    """A queue, an exchange for its dead letters, and their queue."""

    def __init__(self, channel: Any, arguments: dict[str, Any]) -> None:
        self.channel = channel
        self.queue = f"mqctx-test-{uuid4().hex}"
        self.exchange, self.dead = f"{self.queue}.dlx", f"{self.queue}.dead"
        dead_lettering = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.dead}
        channel.queue_declare(self.queue, durable=True, arguments={**dead_lettering, **arguments})
        channel.queue_declare(self.dead, durable=True)
        channel.confirm_delivery()

    def bind(self, **options: Any) -> None:
        """Declare the exchange, and bind the queue of dead letters."""
        self.channel.exchange_declare(self.exchange, "fanout", **options)
        self.channel.queue_bind(self.dead, self.exchange)

    def publish(self, *bodies: bytes, properties: Any = None) -> None:
        """Put messages into the queue."""
        for body in bodies:
            self.channel.basic_publish("", self.queue, body, properties, True)

    def left(self) -> int:
        """Return how many messages wait in the queue."""
        return self._count(self.queue)

    def dead_count(self) -> int:
        """Return how many dead letters wait."""
        return self._count(self.dead)

    def _count(self, queue: str) -> int:
        count: int = self.channel.queue_declare(queue, passive=True).method.message_count
        return count

    def take_dead(self) -> Dead:
        """Take a dead letter."""
        return self._take(self.dead)

    def take_back(self) -> Dead:
        """Take a message that was put back, once it is there."""
        wait_until(lambda: self.left() > 0)
        return self._take(self.queue)

    def _take(self, queue: str) -> Dead:
        return Dead(*take_raw(self.channel, queue))

    def remove(self) -> None:
        """Delete all that was declared."""
        self.channel.queue_delete(self.queue)
        self.channel.queue_delete(self.dead)
        self.channel.exchange_delete(self.exchange)


@contextmanager
def bench(url: str, **arguments: Any) -> Iterator[Bench]:
    """Declare queues for a test, and delete them afterwards."""
    with pika_channel(url) as channel:
        made = Bench(channel, arguments)
        try:
            yield made
        finally:
            made.remove()


def wait_until(done: Done) -> None:
    """Wait for something that no event tells."""
    end = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def _in_time(done: Done) -> Done:
    """Let it be done in time, and for a while: what is acknowledged must get to the broker."""
    end, agreed = time.monotonic() + SECONDS, 0

    def is_done() -> bool:
        nonlocal agreed
        assert time.monotonic() < end, "it did not happen"
        agreed = agreed + 1 if done() else 0
        return agreed >= 3

    return is_done


def pika_handler(url: str, queue: str, handle: Handle, done: Done, dead_letter: Any) -> None:
    """`BlockingChannel.basic_consume`."""

    @pika_adapter.consume_with_context(dead_letter=dead_letter)
    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        handle(body, lambda: channel.basic_ack(method.delivery_tag))

    done = _in_time(done)
    with pika_channel(url) as channel:
        channel.basic_consume(queue, on_message)
        while not done():
            channel.connection.process_data_events(0.02)


def pika_block(url: str, queue: str, handle: Handle, done: Done, dead_letter: Any) -> None:
    """`BlockingChannel.consume`."""
    done = _in_time(done)

    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        with pika_settled(channel, method, properties, body, dead_letter=dead_letter):
            handle(body, lambda: channel.basic_ack(method.delivery_tag))

    with pika_channel(url) as channel:
        for method, properties, body in channel.consume(queue, inactivity_timeout=0.02):
            if method is not None:
                on_message(channel, method, properties, body)
            if done():
                break


def pika_select(url: str, queue: str, handle: Handle, done: Done, dead_letter: Any) -> None:
    """`SelectConnection`, whose callbacks cannot wait."""
    _call_back(pika.SelectConnection, "start", url, queue, handle, done, dead_letter)


def pika_asyncio(url: str, queue: str, handle: Handle, done: Done, dead_letter: Any) -> None:
    """`AsyncioConnection`, on a loop of its own."""
    connect = partial(AsyncioConnection, custom_ioloop=asyncio.new_event_loop())
    _call_back(connect, "run_forever", url, queue, handle, done, dead_letter)


def _call_back(
    connect: Callable[..., Any],
    run: str,
    url: str,
    queue: str,
    handle: Handle,
    done: Done,
    dead_letter: Any,
) -> None:
    done = _in_time(done)

    @pika_adapter.consume_with_context(dead_letter=dead_letter)
    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        handle(body, lambda: channel.basic_ack(method.delivery_tag))

    def opened(connection: Any) -> None:
        connection.channel(on_open_callback=lambda c: c.basic_consume(queue, on_message))

    def closed(connection: Any, reason: BaseException) -> None:
        reasons.append(reason)
        connection.ioloop.stop()

    reasons: list[BaseException] = []
    connection = connect(pika.URLParameters(url), opened, closed, closed)

    def look() -> None:
        try:
            is_done = done()
        except AssertionError as error:  # which asyncio would only log
            closed(connection, error)
            return
        if is_done:
            connection.close()
        else:
            connection.ioloop.call_later(0.02, look)

    try:
        look()
        getattr(connection.ioloop, run)()
        assert isinstance(reasons[0], pika.exceptions.ConnectionClosedByClient), reasons
    finally:
        connection.ioloop.close()


def aio_pika_handler(url: str, queue: str, handle: Handle, done: Done, dead_letter: Any) -> None:
    """`Queue.consume` with an `async def`."""

    @aio_pika_adapter.consume_with_context(dead_letter=dead_letter)
    async def on_message(message: Any) -> None:
        await asyncio.sleep(0)
        if asyncio.iscoroutine(result := handle(message.body, message.ack)):
            await result

    asyncio.run(_consume_async(url, queue, on_message, _in_time(done)))


async def _consume_async(url: str, queue: str, on_message: Any, done: Done) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        consumed = await channel.get_queue(queue)
        await consumed.consume(on_message)
        while not done():  # noqa: ASYNC110 - no event tells what the broker has
            await asyncio.sleep(0.02)


def aio_pika_block(url: str, queue: str, handle: Handle, done: Done, dead_letter: Any) -> None:
    """`Queue.iterator`."""
    done = _in_time(done)

    async def on_message(message: Any) -> None:
        async with aio_pika_settled(message, dead_letter=dead_letter):
            if asyncio.iscoroutine(result := handle(message.body, message.ack)):
                await result

    async def main() -> None:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            consumed = await channel.get_queue(queue)
            async with consumed.iterator() as messages:
                while not done():
                    waiting = asyncio.ensure_future(anext(messages))
                    ready, _ = await asyncio.wait([waiting], timeout=0.02)
                    while not ready and not done():
                        ready, _ = await asyncio.wait([waiting], timeout=0.02)
                    if ready:
                        await on_message(waiting.result())
                    waiting.cancel()

    asyncio.run(main())


def kombu_handler(url: str, queue: str, handle: Handle, done: Done, dead_letter: Any) -> None:
    """A Consumer's `callbacks`."""
    done = _in_time(done)

    @kombu_adapter.consume_with_context(dead_letter=dead_letter)
    def on_message(body: Any, message: Any) -> None:
        handle(body_of(message), message.ack)

    with kombu.Connection(url) as connection:
        source = kombu.Queue(queue, no_declare=True)
        with connection.Consumer(source, callbacks=[on_message], accept=None):
            while not done():
                try:
                    connection.drain_events(timeout=0.02)
                except TimeoutError:
                    continue


def kombu_block(url: str, queue: str, handle: Handle, done: Done, dead_letter: Any) -> None:
    """`Queue.get`, in a loop."""
    done = _in_time(done)

    def on_message(message: Any) -> None:
        with kombu_settled(message, dead_letter=dead_letter):
            handle(body_of(message), message.ack)

    with kombu.Connection(url) as connection, connection.channel() as channel:
        source = kombu.Queue(queue, no_declare=True, channel=channel)
        while not done():
            message = source.get()
            if message is not None:
                on_message(message)


WAYS: dict[str, Consume] = {
    "aio-pika": aio_pika_handler,
    "aio-pika block": aio_pika_block,
    "kombu": kombu_handler,
    "kombu block": kombu_block,
    "pika": pika_handler,
    "pika block": pika_block,
    "pika select": pika_select,
    "pika asyncio": pika_asyncio,
}
