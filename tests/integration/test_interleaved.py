"""A thousand interleaved messages, many consumers: no handler sees a value of another message."""

import asyncio
import random
import threading
from collections import Counter
from typing import Any

import aio_pika
import pytest

from mqctx import Context, bind, current
from mqctx.adapters.aio_pika import consume_with_context
from tests.drivers.clients import CLIENTS, in_threads
from tests.drivers.handling import SECONDS, context_of
from tests.drivers.on_pika import pika_channel

MESSAGES = 1000
CONSUMERS = 20


@pytest.fixture
def queue_of_six(amqp_url: str, queue_name: str) -> str:
    """A queue with a message for each number, in the context of that number."""
    with pika_channel(amqp_url) as channel:
        channel.queue_declare(queue_name)

    def publish(publisher: int) -> None:
        client = CLIENTS[sorted(CLIENTS)[publisher % 3]]
        numbers = range(publisher, MESSAGES, 6)
        orders = ((context_of(number), str(number).encode()) for number in numbers)
        client.publish(amqp_url, queue_name, *orders)

    in_threads(6, publish)
    return queue_name


class Tally:
    """The outcomes of messages, and each handler that saw a context other than its own."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.mixed: list[tuple[int, Context]] = []
        self.handled: set[int] = set()
        self.lock = threading.Lock()

    def check(self, number: int, **added: object) -> None:
        """Note what is active if it is anything else than the message's own."""
        if current() != context_of(number) | added:
            with self.lock:
                self.mixed.append((number, current()))

    def count(self, number: int, outcome: str) -> int:
        """Count an outcome, and return how many there are in all."""
        with self.lock:
            self.handled.add(number)
            self.outcomes[outcome] += 1
            return len(self.handled)


def test_coroutines_that_wait_fail_and_are_cancelled(
    amqp_url: str, queue_of_six: str, caplog: pytest.LogCaptureFixture
) -> None:
    tally, chance = Tally(), random.Random(20)

    async def consume() -> None:
        finished = asyncio.Event()

        @consume_with_context
        async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            number = int(message.body)
            outcome = chance.choice(["returns", "returns", "raises", "cancelled"])
            try:
                await handle(number, outcome)
            finally:
                tally.check(number, step=number)
                await message.ack()
                if tally.count(number, outcome) == MESSAGES:
                    finished.set()

        async def handle(number: int, outcome: str) -> None:
            tally.check(number)
            await asyncio.sleep(chance.random() / 100)
            bind(step=number)
            child = asyncio.create_task(later(number))
            await asyncio.gather(child, asyncio.sleep(chance.random() / 100))
            if outcome == "raises":
                raise LookupError(number)
            if outcome == "cancelled":
                task: Any = asyncio.current_task()
                task.cancel()
                await asyncio.sleep(SECONDS)

        async def later(number: int) -> None:
            await asyncio.sleep(chance.random() / 100)
            tally.check(number, step=number)

        async with await aio_pika.connect_robust(amqp_url) as connection:
            for _ in range(CONSUMERS):
                channel = await connection.channel()
                await channel.set_qos(prefetch_count=10)
                await (await channel.get_queue(queue_of_six)).consume(on_message)
            await asyncio.wait_for(finished.wait(), SECONDS)
        assert current() == {}

    asyncio.run(consume())
    assert tally.mixed == []
    assert tally.handled == set(range(MESSAGES))
    assert min(tally.outcomes[outcome] for outcome in ("returns", "raises", "cancelled")) > 100
    assert current() == {}


@pytest.mark.parametrize("name", ["kombu", "pika"])
def test_threads_that_each_consume(name: str, amqp_url: str, queue_of_six: str) -> None:
    tally = Tally()

    def handle(body: bytes) -> None:
        number = int(body)
        tally.check(number)
        bind(step=number)
        tally.check(number, step=number)
        tally.count(number, "returns")

    def consume(_: int) -> None:
        CLIENTS[name].consume(amqp_url, queue_of_six, MESSAGES // CONSUMERS, handle)
        assert current() == {}

    with pika_channel(amqp_url) as channel:
        assert channel.queue_declare(queue_of_six, passive=True).method.message_count == MESSAGES
    in_threads(CONSUMERS, consume)
    assert tally.mixed == []
    assert tally.handled == set(range(MESSAGES))
