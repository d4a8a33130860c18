"""Each client with our adapter for it: publish some messages, consume some."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from tests.drivers import on_aio_pika, on_kombu, on_pika
from tests.drivers.flow import Flow
from tests.drivers.handling import SECONDS, Order, Send, Settle, Source

Name: TypeAlias = Literal["aio-pika", "kombu", "pika"]


class Adapter(Protocol):
    """The names that the adapters' modules have in common."""

    publish: Any
    consume_with_context: Any

    def instrument(self, target: object = None) -> None:
        """Hook the client library."""
        ...

    def uninstrument(self, target: object = None) -> None:
        """Remove the hooks."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """A client on a broker, used as its users use it."""

    name: Name
    adapter: Any
    send_raw: Send
    _deliver: Callable[..., None]
    _consume: Callable[..., None]
    publish_through: Callable[[Flow], None]
    """Publish what a flow gives, each message until it is confirmed, whatever breaks."""
    consume_through: Callable[[Flow], None]
    """Handle what comes, in a decorated handler, until the flow is finished."""

    def publish(
        self, url: str, queue: str, *orders: Order, send: Send | None = None, **properties: Any
    ) -> None:
        """Publish to a queue, with confirms, each body in its context."""
        self._deliver(send or self.adapter.publish, url, queue, orders, properties)

    def consume(self, url: str, queue: str, count: int, handle: Callable[[bytes], object]) -> None:
        """Give each of `count` messages to `handle`, in a decorated handler; ack them."""

        def settle(body: bytes, _: Mapping[str, Any]) -> Settle:
            handle(body)
            return Settle.ACK

        adapter = self.adapter
        options = {"send": adapter.publish, "decorate": adapter.consume_with_context}
        self._consume(url, Source(queue), count, settle, **options, prefetch=0)

    @contextmanager
    def instrumented(self, way: str = "instrument") -> Iterator[None]:
        """Hook the client library meanwhile, if that is the way."""
        if way != "instrument":
            yield
            return
        self.adapter.instrument()
        try:
            yield
        finally:
            self.adapter.uninstrument()


def _in_a_loop(*arguments: Any, **options: Any) -> None:
    asyncio.run(on_aio_pika.queue_consume(*arguments, **options))


CLIENTS: dict[str, Client] = {
    "aio-pika": Client(
        "aio-pika",
        aio_pika_adapter,
        on_aio_pika.send_raw,
        on_aio_pika.deliver,
        _in_a_loop,
        on_aio_pika.publish_through,
        on_aio_pika.consume_through,
    ),
    "kombu": Client(
        "kombu",
        kombu_adapter,
        on_kombu.send_raw,
        on_kombu.deliver,
        on_kombu.callbacks,
        on_kombu.publish_through,
        on_kombu.consume_through,
    ),
    "pika": Client(
        "pika",
        pika_adapter,
        on_pika.send_raw,
        on_pika.deliver,
        on_pika.basic_consume,
        on_pika.publish_through,
        on_pika.consume_through,
    ),
}


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
