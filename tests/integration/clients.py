"""The three clients on a real broker: publish one message, consume some."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import aio_pika
import kombu
import pika

from mqctx._core.context import as_context
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter

SECONDS = 30.0
"""How long anything here waits before it is a failure."""

Order = tuple[Mapping[str, object], bytes]
"""A context, and the body of a message that is published in it."""

Handle = Callable[[bytes], None]
"""What a test does with the body of a message, inside the message's context."""


class Client(Protocol):
    """One client, with our adapter for it, in the way that its users write it."""

    def publish(self, url: str, queue: str, *orders: Order, **options: Any) -> None:
        """Publish to a queue, with confirms, each body in its context."""
        ...

    def consume(self, url: str, queue: str, count: int, handle: Handle) -> None:
        """Give each of `count` messages to `handle`, in a decorated handler; ack them."""
        ...


class AioPika:
    """aio-pika, handlers are `async def`."""

    def publish(self, url: str, queue: str, *orders: Order, **options: Any) -> None:
        """Publish through the default exchange."""

        async def main() -> None:
            async with await aio_pika.connect(url) as connection:
                exchange = (await connection.channel()).default_exchange
                for context, body in orders:
                    with as_context(context).scope():
                        message = aio_pika.Message(body, **options)
                        await aio_pika_adapter.publish(exchange, message, queue, timeout=SECONDS)

        asyncio.run(main())

    def consume(self, url: str, queue: str, count: int, handle: Handle) -> None:
        """Consume with `queue.consume`."""

        async def main() -> None:
            finished = asyncio.Event()
            handled = 0

            @aio_pika_adapter.consume_with_context
            async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                nonlocal handled
                await asyncio.sleep(0)
                handle(message.body)
                await message.ack()
                handled += 1
                if handled == count:
                    finished.set()

            async with await aio_pika.connect(url) as connection:
                channel = await connection.channel()
                await (await channel.get_queue(queue)).consume(on_message)
                await asyncio.wait_for(finished.wait(), SECONDS)

        asyncio.run(main())


class Pika:
    """pika, a BlockingConnection."""

    def publish(self, url: str, queue: str, *orders: Order, **options: Any) -> None:
        """Publish through the default exchange."""
        with pika_channel(url) as channel:
            channel.confirm_delivery()
            properties = pika.BasicProperties(**options) if options else None
            for context, body in orders:
                with as_context(context).scope():
                    pika_adapter.publish(channel, "", queue, body, properties, mandatory=True)

    def consume(self, url: str, queue: str, count: int, handle: Handle) -> None:
        """Consume with `basic_consume`."""
        handled = 0

        @pika_adapter.consume_with_context
        def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            nonlocal handled
            handle(body)
            channel.basic_ack(method.delivery_tag)
            handled += 1
            if handled == count:
                channel.stop_consuming()

        with pika_channel(url) as channel:
            channel.connection.call_later(SECONDS, channel.stop_consuming)
            channel.basic_consume(queue, on_message)
            channel.start_consuming()
        assert handled == count


@contextmanager
def pika_channel(url: str) -> Iterator[Any]:
    """Open a connection with one channel."""
    connection: Any = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


class Kombu:
    """kombu on py-amqp, callbacks take `(body, message)`."""

    def publish(self, url: str, queue: str, *orders: Order, **options: Any) -> None:
        """Publish through the default exchange."""
        with kombu_connection(url) as connection:
            producer = connection.Producer()
            for context, body in orders:
                with as_context(context).scope():
                    kombu_adapter.publish(producer, body, routing_key=queue, **options)

    def consume(self, url: str, queue: str, count: int, handle: Handle) -> None:
        """Consume with a Consumer's callbacks."""
        handled: list[Any] = []

        @kombu_adapter.consume_with_context
        def on_message(body: Any, message: Any) -> None:
            handle(body.encode() if isinstance(body, str) else bytes(body))
            handled.append(message)

        with kombu_connection(url) as connection:
            source = kombu.Queue(queue, no_declare=True)
            # Cancelling a consumer still handles what arrives meanwhile: nothing does while the
            # only message that it may have is not acked.
            with connection.Consumer(source, callbacks=[on_message], prefetch_count=1):
                for number in range(count):
                    if number:
                        handled[-1].ack()
                    while len(handled) == number:
                        connection.drain_events(timeout=SECONDS)
            handled[-1].ack()


@contextmanager
def kombu_connection(url: str) -> Iterator[Any]:
    """Open a connection that confirms what is published."""
    with kombu.Connection(url, transport_options={"confirm_publish": True}) as connection:
        yield connection


CLIENTS: dict[str, Client] = {"aio-pika": AioPika(), "kombu": Kombu(), "pika": Pika()}


def in_threads(count: int, target: Callable[[int], None]) -> None:
    """Run `target(0)`, `target(1)`, ... each in a thread, and raise what the first one raised."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            target(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * SECONDS)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
