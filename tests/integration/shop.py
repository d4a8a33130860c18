"""A shop with three services on three clients, written without any thought of a context.

The web service asks for a price (RPC), and places orders (topic exchange); billing bills them
and passes them on; shipping ships, answers, and sends what it cannot read to a dead-letter queue.
Nothing in it knows mqctx.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import kombu
import pika
from aio_pika.patterns import RPC, Master
from kombu.mixins import ConsumerProducerMixin

log = logging.getLogger("shop")
SECONDS = 30.0


class OutOfStockError(Exception):
    """There is nothing left of the article."""


@dataclass
class Shop:
    """The names of the shop's queues, and what happened in it."""

    url: str
    prefix: str
    expected: int
    bills: list[dict[str, Any]] = field(default_factory=list)
    parcels: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    finished: threading.Event = field(default_factory=threading.Event)
    written: asyncio.Event = field(default_factory=asyncio.Event)

    def name(self, of: str) -> str:
        """Return the name of a queue or exchange."""
        return f"{self.prefix}.{of}"

    def ship(self, parcel: dict[str, Any]) -> None:
        """Note a parcel; the last one finishes the day."""
        self.parcels.append(parcel)
        if len(self.parcels) == self.expected:
            self.finished.set()


# --- web, on aio-pika ------------------------------------------------------------------------


async def price(*, article: str) -> int:
    """Return the price of an article, in cents; called by RPC."""
    log.info("price %s", article)
    if article == "unicorn":
        raise OutOfStockError(article)
    await asyncio.sleep(0)
    return len(article) * 100


class Web:
    """The web service: connections, and one method for each kind of request."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def __aenter__(self) -> "Web":
        self.connection = await aio_pika.connect_robust(self.shop.url)
        self.channel = await self.connection.channel()
        self.orders = await self.channel.declare_exchange(
            self.shop.name("orders"), aio_pika.ExchangeType.TOPIC, auto_delete=True
        )
        self.rpc = await RPC.create(self.channel)
        await self.rpc.register(self.shop.name("price"), price, auto_delete=True)
        self.master = Master(self.channel)
        self.worker = await self.master.create_worker(
            self.shop.name("letter"), self.write_letter, auto_delete=True
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.worker.close()
        await self.rpc.close()
        await self.connection.close()

    async def write_letter(self, *, to: str) -> None:
        """Write a letter; done by a worker of the Master pattern."""
        log.info("letter %s", to)
        self.shop.letters.append(to)
        if len(self.shop.letters) == self.shop.expected:
            self.shop.written.set()

    async def place(self, customer: str, article: str) -> tuple[str, Any]:
        """Place an order; return how the broker confirmed it, and the price."""
        log.info("place %s", article)
        cents = await self.rpc.call(self.shop.name("price"), {"article": article})
        order = {"customer": customer, "article": article, "cents": cents}
        message = aio_pika.Message(
            json.dumps(order).encode(), content_type="application/json", headers={"kind": "order"}
        )
        confirmed = await self.orders.publish(message, f"order.{customer}")
        assert message.headers == {"kind": "order"}
        await self.master.create_task(self.shop.name("letter"), {"to": customer})
        return type(confirmed).__name__, cents


# --- billing, on pika ------------------------------------------------------------------------


def bill(shop: Shop, ready: threading.Event) -> None:
    """Bill orders until the day is finished."""
    connection = pika.BlockingConnection(pika.URLParameters(shop.url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare(shop.name("orders"), "topic", auto_delete=True)
    channel.queue_declare(shop.name("billing"), auto_delete=True)
    channel.queue_bind(shop.name("billing"), shop.name("orders"), "order.#")
    channel.queue_declare(shop.name("shipping"))

    def on_order(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        order = json.loads(body)
        log.info("bill %s", order["article"])
        shop.bills.append(order)
        result = channel.basic_publish("", shop.name("shipping"), body, properties, mandatory=True)
        assert result is None
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(shop.name("billing"), on_order)
    ready.set()
    while not shop.finished.is_set():
        connection.process_data_events(1)
    connection.close()


# --- shipping, on kombu ----------------------------------------------------------------------


class Shipping(ConsumerProducerMixin):
    """Ship what was billed, and answer whoever wants to know."""

    def __init__(self, shop: Shop, connection: Any, ready: threading.Event) -> None:
        self.shop, self.connection, self.ready = shop, connection, ready

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: N803 - kombu's own name
        """Consume from one queue."""
        queue = kombu.Queue(self.shop.name("shipping"), durable=False)
        return [
            Consumer(
                queue,
                callbacks=[self.on_parcel],
                accept=["json"],
                on_decode_error=self.on_unreadable,
            )
        ]

    def on_consume_ready(self, *args: Any, **kwargs: Any) -> None:
        """Tell that orders can come."""
        self.ready.set()

    def on_parcel(self, order: dict[str, Any], message: Any) -> None:
        """Ship, and tell the archive."""
        log.info("ship %s", order["article"])
        self.producer.publish(
            order, routing_key=self.shop.name("archive"), headers=message.headers, retry=True
        )
        message.ack()
        self.shop.ship(order)

    def on_unreadable(self, message: Any, error: Exception) -> None:
        """Put aside what cannot be read."""
        log.info("unreadable")
        self.shop.unreadable.append(type(error).__name__)
        message.ack()


def ship(shop: Shop, ready: threading.Event) -> None:
    """Run shipping until the day is finished."""
    with kombu.Connection(shop.url) as connection:
        connection.SimpleQueue(archive(shop)).close()
        shipping = Shipping(shop, connection, ready)
        threading.Thread(target=stop_when_finished, args=(shop, shipping)).start()
        shipping.run()


def stop_when_finished(shop: Shop, shipping: Shipping) -> None:
    """End shipping with the day."""
    shop.finished.wait(SECONDS)
    shipping.should_stop = True


def archive(shop: Shop) -> Any:
    """Return the queue of what was shipped."""
    return kombu.Queue(shop.name("archive"), durable=False)


def archived(shop: Shop) -> list[dict[str, Any]]:
    """Take what was shipped out of the archive."""
    found = []
    with kombu.Connection(shop.url) as connection:
        queue = connection.SimpleQueue(archive(shop))
        for _ in range(shop.expected):
            message = queue.get(timeout=SECONDS)
            found.append(message.decode())
            message.ack()
        queue.close()
    return found


# --- a day -----------------------------------------------------------------------------------

Request = Callable[[Web], Any]


async def open_for_a_day(shop: Shop, requests: Sequence[Request]) -> list[Any]:
    """Run all services, serve the requests at once, and return what each gave or raised."""
    workers = []
    for work in (bill, ship):
        ready = threading.Event()
        worker = threading.Thread(target=work, args=(shop, ready))
        worker.start()
        assert await asyncio.to_thread(ready.wait, SECONDS)
        workers.append(worker)
    async with Web(shop) as web:
        outcomes = await asyncio.gather(*(r(web) for r in requests), return_exceptions=True)
        await web.channel.default_exchange.publish(
            aio_pika.Message(b"{", content_type="application/json"), shop.name("shipping")
        )
        await asyncio.to_thread(shop.finished.wait, SECONDS)
        for worker in workers:
            await asyncio.to_thread(worker.join, SECONDS)
        await asyncio.wait_for(shop.written.wait(), SECONDS)
    return outcomes
