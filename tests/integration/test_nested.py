"""Handlers that let the client handle other messages before they return, on a real broker."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aio_pika
import kombu
import pytest

from mqctx import bind, current
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from tests.drivers.clients import CLIENTS
from tests.drivers.handling import SECONDS
from tests.drivers.on_kombu import kombu_connection
from tests.drivers.on_pika import pika_channel

pytestmark = pytest.mark.usefixtures("ambient")

MESSAGES = 5
Seen = list[tuple[bytes, Mapping[str, object]]]
NUMBERS: Seen = [(str(number).encode(), {"number": number}) for number in range(MESSAGES)]
HANDLED: Seen = [(body, {**context, "handled": True}) for body, context in NUMBERS]


@pytest.fixture
def queue_of_numbers(amqp_url: str, queue_name: str) -> str:
    """A queue with messages, each with its number as body and in its context."""
    with pika_channel(amqp_url) as channel:
        channel.queue_declare(queue_name)
    orders = [({"number": number}, str(number).encode()) for number in range(MESSAGES)]
    CLIENTS["pika"].publish(amqp_url, queue_name, *orders)
    return queue_name


def test_a_kombu_callback_that_drains_events(amqp_url: str, queue_of_numbers: str) -> None:
    """The next message is handled inside the callback of the one before, and so on."""
    before: Seen = []
    after: Seen = []

    @kombu_adapter.consume_with_context
    def on_message(text: str, message: Any) -> None:
        body = text.encode()
        before.append((body, current()))
        if len(before) < MESSAGES:
            connection.drain_events(timeout=SECONDS)
        bind(handled=True)
        after.append((body, current()))
        message.ack()

    with kombu_connection(amqp_url) as connection:
        source = kombu.Queue(queue_of_numbers, no_declare=True)
        with connection.Consumer(source, callbacks=[on_message]):
            while len(after) < MESSAGES:
                connection.drain_events(timeout=SECONDS)
    assert before == NUMBERS
    assert after == HANDLED[::-1]


def test_a_pika_callback_that_processes_data_events(amqp_url: str, queue_of_numbers: str) -> None:
    """pika reads on, but calls no other callback before this one returns."""
    seen: Seen = []

    @pika_adapter.consume_with_context
    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        bind(by=body.decode())
        channel.connection.process_data_events(time_limit=0.01)
        channel.connection.sleep(0.01)
        seen.append((body, current()))
        channel.basic_ack(method.delivery_tag)
        if len(seen) == MESSAGES:
            channel.stop_consuming()

    with pika_channel(amqp_url) as channel:
        channel.connection.call_later(SECONDS, channel.stop_consuming)
        channel.basic_consume(queue_of_numbers, on_message)
        channel.start_consuming()
    assert seen == [
        (str(number).encode(), {"number": number, "by": str(number)}) for number in range(MESSAGES)
    ]


def test_a_pika_loop_that_processes_data_events_meanwhile(
    amqp_url: str, queue_of_numbers: str
) -> None:
    """A message that is got in a loop; the callbacks of others run before it is done."""
    seen: Seen = []

    @pika_adapter.consume_with_context
    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        bind(callback=True)
        seen.append((body, current()))

    with pika_channel(amqp_url) as channel:
        _, properties, body = channel.basic_get(queue_of_numbers, auto_ack=True)
        with pika_adapter.restored(properties):
            channel.basic_consume(queue_of_numbers, on_message, auto_ack=True)
            for _ in range(int(SECONDS)):
                if len(seen) < MESSAGES - 1:
                    channel.connection.process_data_events(time_limit=1)
            seen.append((body, current()))
    others = range(1, MESSAGES)
    assert seen == [
        *((str(n).encode(), {"number": n, "callback": True}) for n in others),
        (b"0", {"number": 0}),
    ]


def test_an_aio_pika_callback_that_waits_for_the_others(
    amqp_url: str, queue_of_numbers: str
) -> None:
    before: Seen = []
    after: Seen = []

    async def consume() -> None:
        all_started, all_done = asyncio.Event(), asyncio.Event()

        @aio_pika_adapter.consume_with_context
        async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            note_message(message, before, all_started)
            await all_started.wait()
            bind(handled=True)
            note_message(message, after, all_done)

        async with await aio_pika.connect(amqp_url) as connection:
            source = await (await connection.channel()).get_queue(queue_of_numbers)
            await source.consume(on_message, no_ack=True)
            await asyncio.wait_for(all_done.wait(), SECONDS)

    asyncio.run(consume())
    assert before == NUMBERS
    assert sorted(after, key=lambda pair: pair[0]) == HANDLED


def note_message(message: Any, seen: Seen, complete: asyncio.Event) -> None:
    """Note what is active for a message, and whether each message was noted."""
    seen.append((message.body, current()))
    if len(seen) == MESSAGES:
        complete.set()
