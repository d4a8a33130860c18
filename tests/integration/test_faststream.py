"""FastStream's RabbitBroker on a real broker."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import aio_pika
import pytest
from faststream.rabbit import RabbitBroker, RabbitMessage, RabbitQueue

from mqctx import Context, bind, current, scope
from mqctx.adapters.aio_pika import instrument, uninstrument
from mqctx.adapters.faststream import ContextMiddleware, restored
from tests.drivers.clients import CLIENTS
from tests.drivers.handling import SECONDS

pytestmark = [pytest.mark.usefixtures("ambient"), pytest.mark.asyncio]

other: ContextVar[str] = ContextVar("other", default="outside")


def rabbit_at(url: str, logger: logging.Logger | None = None) -> RabbitBroker:
    """Make a broker with our middleware."""
    return RabbitBroker(url, middlewares=[ContextMiddleware], logger=logger)


def existing(queue: str) -> RabbitQueue:
    """Return a queue as the fixture declared it."""
    return RabbitQueue(queue, durable=False)


@asynccontextmanager
async def at_work(broker: RabbitBroker) -> AsyncIterator[RabbitBroker]:
    """Start a broker, and stop it afterwards."""
    async with asyncio.timeout(2 * SECONDS), broker:
        await broker.start()
        yield broker


async def all_of(seen: "asyncio.Queue[Any]", count: int) -> list[Any]:
    """Return what was put there, once it is so many."""
    return [await asyncio.wait_for(seen.get(), SECONDS) for _ in range(count)]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_handler_runs_in_the_context_that_another_client_sent(
    amqp_url: str, queue: str, kind: str
) -> None:
    broker = rabbit_at(amqp_url)
    seen: asyncio.Queue[tuple[str, Context, str]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def handle(body: str) -> None:
        loop.call_soon_threadsafe(seen.put_nowait, (body, current(), other.get()))
        other.set("inside")
        bind(step="pay")

    async def handle_async(body: str) -> None:
        handle(body)

    broker.subscriber(existing(queue))(handle if kind == "sync" else handle_async)
    orders = [({"user": f"u-{number}"} if number % 2 else {}, f"m{number}") for number in range(6)]
    publish = CLIENTS["pika"].publish
    async with at_work(broker):
        await asyncio.to_thread(
            publish, amqp_url, queue, *((context, body.encode()) for context, body in orders)
        )
        handled = await all_of(seen, len(orders))
    expected = [(body, context, "outside") for context, body in orders]
    assert sorted(handled, key=lambda each: each[0]) == expected


async def test_another_client_gets_the_context_that_a_handler_publishes_in(
    amqp_url: str, queue: str
) -> None:
    broker = rabbit_at(amqp_url)
    source = RabbitQueue(f"{queue}-source", auto_delete=True)

    @broker.subscriber(source)
    @broker.publisher(queue)
    async def handler(body: str) -> str:
        with scope(step="pay"):
            await broker.publish(f"{body}-published", queue)
            await broker.publish(aio_pika.Message(f"{body}-message".encode()), queue)
        bind(step="result")
        return f"{body}-returned"

    arrived: list[tuple[bytes, Mapping[str, object]]] = []
    async with at_work(broker):
        with Context(user="ada").scope():
            await broker.publish("42", source)
        await asyncio.to_thread(
            CLIENTS["pika"].consume,
            amqp_url,
            queue,
            3,
            lambda body: arrived.append((body, current())),
        )
    assert sorted(arrived) == [
        (b"42-message", {"user": "ada", "step": "pay"}),
        (b"42-published", {"user": "ada", "step": "pay"}),
        (b"42-returned", {"user": "ada", "step": "result"}),
    ]


# FastStream 0.6.0 leaves the streams of its request open.
@pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
async def test_a_request_gives_back_what_was_active_and_the_reply_has_its_own(
    amqp_url: str, queue: str
) -> None:
    broker = rabbit_at(amqp_url)

    @broker.subscriber(existing(queue))
    async def handler(body: str) -> str:
        seen = current()
        bind(by="handler")
        return f"{body} for {seen['user']}"

    async with at_work(broker):
        with Context(user="ada").scope() as active:
            reply: Any = await broker.request("42", queue, timeout=SECONDS)
            assert current() is active
            assert await reply.decode() == "42 for ada"
            with restored(reply):
                assert current() == {"user": "ada", "by": "handler"}
            assert current() is active


async def test_a_message_that_is_fetched_is_restored_by_hand(amqp_url: str, queue: str) -> None:
    broker = rabbit_at(amqp_url)
    subscriber = broker.subscriber(existing(queue))
    seen: list[Context] = []
    async with at_work(broker):
        for user in ("ada", "eve", "bob"):
            with Context(user=user).scope():
                await broker.publish("42", queue)
        message: Any = await subscriber.get_one(timeout=SECONDS)
        assert current() == {"user": "ambient"}
        with restored(message):
            seen.append(current())
        async for message in subscriber:
            assert current() == {"user": "ambient"}
            with restored(message):
                seen.append(current())
            await message.ack()
            if len(seen) == 3:
                break
    assert seen == [{"user": "ada"}, {"user": "eve"}, {"user": "bob"}]


async def test_a_message_that_is_requeued_keeps_its_context(amqp_url: str, queue: str) -> None:
    broker = rabbit_at(amqp_url)
    seen: asyncio.Queue[tuple[Context, bool]] = asyncio.Queue()

    @broker.subscriber(existing(queue))
    async def handler(message: RabbitMessage) -> None:
        redelivered = bool(message.raw_message.redelivered)
        bind(attempt=1)
        await seen.put((current(), redelivered))
        await (message.ack() if redelivered else message.nack(requeue=True))

    async with at_work(broker):
        with Context(user="ada").scope():
            await broker.publish("42", queue)
        attempts = await all_of(seen, 2)
    assert attempts == [({"user": "ada", "attempt": 1}, again) for again in (False, True)]


async def test_the_lines_that_faststream_logs_are_in_the_context_of_an_instrumented_aio_pika(
    amqp_url: str, queue: str
) -> None:
    """Its own middleware for them comes before all others."""
    lines: asyncio.Queue[tuple[str, Context]] = asyncio.Queue()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg in {"Received", "Processed", "LookupError: no such order"}:
                lines.put_nowait((str(record.msg), current()))

    logger, handler_of_lines = logging.getLogger("faststream-test"), Handler()
    logger.addHandler(handler_of_lines)
    logger.setLevel(logging.INFO)
    instrument()
    try:
        broker = rabbit_at(amqp_url, logger=logger)

        @broker.subscriber(existing(queue))
        async def handler(body: str) -> None:
            raise LookupError("no such order")

        async with at_work(broker):
            with Context(user="ada").scope():
                await broker.publish("42", queue)
            logged = await all_of(lines, 3)
    finally:
        uninstrument()
        logger.removeHandler(handler_of_lines)
    texts = ["Received", "LookupError: no such order", "Processed"]
    assert logged == [(text, {"user": "ada"}) for text in texts]
