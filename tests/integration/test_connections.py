"""A connection or channel starts all in the context variables of the code that opened it."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import pytest

from mqctx import Context, current, scope
from tests.drivers.handling import SECONDS

Opener = Callable[[str], Awaitable[Any]]


async def in_the_request(url: str) -> Any:
    return await (await aio_pika.connect(url)).channel()


async def outside_every_context(url: str) -> Any:
    return await asyncio.create_task(in_the_request(url), context=contextvars.Context())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("opened", "seen"),
    [(in_the_request, {"request_id": "r-1"}), (outside_every_context, {})],
    ids=["in a request", "outside"],
)
async def test_a_connection_that_a_request_opens_is_in_its_context_unless_opened_outside(
    amqp_url: str, queue: str, opened: Opener, seen: dict[str, str]
) -> None:
    found: asyncio.Queue[Context] = asyncio.Queue()

    async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        await found.put(current())

    with scope(request_id="r-1"):
        channel = await opened(amqp_url)
    async with channel._connection, asyncio.timeout(SECONDS):
        channel.return_callbacks.add(lambda _, message: asyncio.create_task(note(message)))
        await (await channel.get_queue(queue)).consume(note, no_ack=True)
        for routing_key in (queue, f"{queue}-absent"):
            await channel.default_exchange.publish(aio_pika.Message(b""), routing_key)
            assert await found.get() == seen
