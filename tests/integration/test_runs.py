"""The runs of each way to take a message, as `mqctx trace` joins them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import aio_pika
import dramatiq
import kombu
import pytest
from aio_pika.patterns import RPC
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from faststream.rabbit import RabbitBroker, RabbitQueue
from taskiq import SimpleRetryMiddleware
from taskiq.receiver import Receiver
from taskiq_aio_pika import AioPikaBroker
from taskiq_aio_pika import Queue as TaskiqQueue

import mqctx
import mqctx.adapters.aio_pika as on_aio_pika
import mqctx.adapters.dramatiq
import mqctx.adapters.faststream
import mqctx.adapters.kombu as on_kombu
import mqctx.adapters.pika as on_pika
import mqctx.adapters.taskiq
from mqctx.formats import TraceContextFormat
from tests.drivers.on_pika import pika_channel

from .broker import Broker
from .traced import SECONDS, traced, until, vhost_of

EXCHANGE = "mqctx.journeys"
Journey = list[dict[str, Any]]


class Shop:
    """A vhost in which each way of taking messages has a queue of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def go_on(self) -> None:
        """Publish what a handler leads to."""
        with pika_channel(self.url) as channel:
            on_pika.publish(channel, "", "next", b"next")

    def send(self, way: str) -> None:
        """Publish a request to the queue of that way."""
        with pika_channel(self.url) as channel, mqctx.scope(request_id=way):
            channel.queue_declare(way)
            on_pika.publish(channel, "", way, way.encode())


async def faststream(shop: Shop) -> None:
    broker = RabbitBroker(
        shop.url, middlewares=[mqctx.adapters.faststream.ContextMiddleware], logger=None
    )
    done = asyncio.Event()

    @broker.subscriber(RabbitQueue("faststream", durable=False))
    async def on_order(_: bytes) -> None:
        await asyncio.to_thread(shop.go_on)
        done.set()

    async with broker:
        await broker.start()
        await asyncio.wait_for(done.wait(), SECONDS)


async def taskiq(shop: Shop) -> None:
    queue = TaskiqQueue(name="taskiq")
    broker = AioPikaBroker(shop.url, task_queues=[queue])
    broker.add_middlewares(SimpleRetryMiddleware(), mqctx.adapters.taskiq.ContextMiddleware())
    done, finish = asyncio.Event(), asyncio.Event()

    @broker.task(task_name="bill", retry_on_error=True)
    async def bill() -> None:
        if not mqctx.current().get("again"):
            mqctx.bind(again=True)
            raise LookupError
        await asyncio.to_thread(shop.go_on)
        done.set()

    broker.is_worker_process = True
    await broker.startup()
    with ThreadPoolExecutor(2) as pool, mqctx.scope(request_id="taskiq"):
        await bill.kiq()
        receiver = Receiver(broker, executor=pool, run_startup=False)
        listening = asyncio.create_task(receiver.listen(finish))
        await asyncio.wait_for(done.wait(), SECONDS)
        finish.set()
        await listening
    await broker.shutdown()


async def loops_of_aio_pika(shop: Shop) -> None:
    async with await aio_pika.connect(shop.url) as connection:
        channel = await connection.channel()
        restored, settled = [await channel.get_queue(each) for each in ("restored", "settled")]
        message = await restored.get()
        # The inner one is the same run.
        with on_aio_pika.restored(message), on_aio_pika.restored(message):
            await asyncio.to_thread(shop.go_on)
        async with on_aio_pika.settled(await settled.get(), dead_letter="amq.fanout"):
            raise ValueError("no such order")
        with suppress(ZeroDivisionError):
            async with (await channel.get_queue("iterated")).iterator() as messages:
                async for message in messages:
                    await asyncio.to_thread(shop.go_on)
                    await message.ack()
                    raise ZeroDivisionError


async def rpc(shop: Shop) -> None:
    async def price(*, item: str) -> str:
        await asyncio.to_thread(shop.go_on)
        raise KeyError(item)

    async with await aio_pika.connect(shop.url) as connection:
        pricing = await RPC.create(await connection.channel(), host_exceptions=False)
        await pricing.register("rpc", price)
        with mqctx.scope(request_id="rpc"), pytest.raises(KeyError):
            await pricing.call("rpc", {"item": "tea"})
        await pricing.close()


def kombus(shop: Shop) -> None:
    done = threading.Event()

    def on_order(_body: object, message: kombu.Message) -> None:
        shop.go_on()
        message.ack()
        done.set()

    with kombu.Connection(shop.url) as connection:
        queue: Any = kombu.Queue("consumed", durable=False, no_declare=True)
        with connection.Consumer(queue, callbacks=[on_order], accept=None):
            while not done.is_set():
                connection.drain_events(timeout=SECONDS)
        queue = kombu.Queue("got", durable=False, no_declare=True)
        with on_kombu.restored(queue(connection.channel()).get(no_ack=True)):
            shop.go_on()


def pikas(shop: Shop) -> None:
    with pika_channel(shop.url) as channel:
        method, properties, _ = channel.basic_get("basic_get", auto_ack=True)
        assert method is not None
        with on_pika.restored(properties, channel=channel, method=method):
            shop.go_on()


@contextmanager
def dramatiqs(shop: Shop) -> Iterator[Callable[[], bool]]:
    rabbit = RabbitmqBroker(url=shop.url)
    rabbit.add_middleware(mqctx.adapters.dramatiq.ContextMiddleware())
    rabbit.declare_queue("dramatiq", ensure=True)
    done = threading.Event()

    @dramatiq.actor(broker=rabbit, queue_name="dramatiq", min_backoff=1, max_backoff=1)
    def bill() -> None:
        if "again" not in mqctx.current():
            mqctx.bind(again=True)
            raise LookupError
        shop.go_on()
        done.set()

    with mqctx.scope(request_id="dramatiq"):
        bill.send()
    worker = dramatiq.Worker(rabbit, worker_timeout=100, worker_threads=1)
    worker.start()
    yield lambda: done.wait(SECONDS)
    worker.stop()
    rabbit.close()


@pytest.fixture(scope="module")
def journeys(broker: Broker) -> Iterator[dict[str, Journey]]:
    """Take messages in each way, and give the journeys by their request ids."""
    with vhost_of(broker) as vhost:
        shop = Shop(vhost.url)
        vhost.change(default_queue_type="classic")
        with pika_channel(vhost.url) as channel:
            channel.queue_declare("next")
            channel.queue_declare("dead")
            channel.queue_bind("dead", "amq.fanout")
            channel.exchange_declare(EXCHANGE, "topic", durable=True)
            channel.queue_declare("kept")
            channel.queue_bind("kept", EXCHANGE, "#")
        with traced(vhost) as trace:
            mqctx.configure(
                formats=[mqctx.JsonFormat(), TraceContextFormat()], service="shop", report=EXCHANGE
            )
            on_kombu.instrument()
            for way in WAYS_OF_THEIR_OWN:
                shop.send(way)
            with dramatiqs(shop) as wait:
                asyncio.run(_all(shop))
                kombus(shop)
                pikas(shop)
                wait()
            on_kombu.uninstrument()
            mqctx.configure()
            with pika_channel(vhost.url) as channel:
                until(lambda: channel.queue_declare("kept").method.message_count == REPORTS)
            records = trace.end()
        yield {way: [each for each in records if each["journey"] == way] for way in HANDLERS}


async def _all(shop: Shop) -> None:
    await taskiq(shop)
    on_aio_pika.instrument()
    await asyncio.gather(faststream(shop), loops_of_aio_pika(shop), rpc(shop))
    on_aio_pika.uninstrument()


HANDLERS = {
    "faststream": "faststream.<locals>.on_order",
    "taskiq": "bill",
    "dramatiq": "bill",
    "restored": "loops_of_aio_pika",
    "settled": "loops_of_aio_pika",
    "iterated": "loops_of_aio_pika",
    "rpc": "rpc.<locals>.price",
    "consumed": "kombus.<locals>.on_order",
    "got": "kombus",
    "basic_get": "pikas",
}
WAYS_OF_THEIR_OWN = [way for way in HANDLERS if way not in ("taskiq", "dramatiq", "rpc")]
FAILED = {
    "taskiq": ["LookupError", None],
    "dramatiq": ["LookupError", None],
    "settled": ["ValueError"],
    "iterated": ["ZeroDivisionError"],
    "rpc": ["KeyError"],
}


REPORTS = len(HANDLERS) + 3
"""Of each way one, of two retries, and of the answer's handler."""


@pytest.mark.parametrize("way", HANDLERS)
def test_each_run_is_told_once_below_its_delivery_and_nothing_is_inferred(
    journeys: dict[str, Journey], way: str
) -> None:
    found = {each["id"]: each for each in journeys[way]}
    runs = [each for each in found.values() if each["kind"] == "run"]
    # The client gets the answer with a handler of its own.
    runs = [each for each in runs if not each["handler"].endswith("RPC.on_result_message")]
    assert [each["error"] for each in runs] == FAILED.get(way, [None])
    for run in runs:
        assert run["handler"].removeprefix(f"{__name__}.") == HANDLERS[way]
        assert run["service"] == "shop"
        assert found[run["parent"]]["kind"] == "delivery"
        assert run["duration"] > 0
    led_to = [each for each in found.values() if each.get("routing_keys") == ["next"]]
    assert [each["joined"] for each in led_to] == ["run"] * (way != "settled")
    assert not [each for each in found.values() if each["inferred"]]
