"""Blocks of an instrumented aio-pika application take no memory beyond their own."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mqctx import current
from mqctx._core.store import active_store
from mqctx.adapters.aio_pika import instrument, uninstrument
from tests.drivers.on_aio_pika import Connect
from tests.integration.test_aio_pika_blocks import of, queue_of_count


@pytest.fixture(autouse=True)
def _instrumented() -> Iterator[None]:
    instrument()
    yield
    uninstrument()


@pytest.mark.asyncio
async def test_blocks_that_overlap_all_the_time_take_no_more_memory(
    amqp_url: str, connect: Connect
) -> None:
    count = 8
    async with queue_of_count(amqp_url, connect, count) as queue:
        message = await queue.get()
        block = message.process()
        await block.__aenter__()
        for _ in range(count - 1):
            message = await queue.get()
            following = message.process()
            await following.__aenter__()
            await block.__aexit__(None, None, None)
            block = following
        assert current() == of(message)
        assert depth() <= 2
        await block.__aexit__(None, None, None)
        assert current() == {}


@pytest.mark.asyncio
async def test_blocks_of_tasks_that_each_start_the_next_take_no_more_memory(
    amqp_url: str, connect: Connect
) -> None:
    depths: list[int] = []

    async def work(queue: Any, left: int) -> None:
        message = await queue.get()
        async with message.process():
            assert current() == of(message)
            depths.append(depth())
            if left:
                await asyncio.create_task(work(queue, left - 1))

    async with queue_of_count(amqp_url, connect, 4) as queue:
        await work(queue, 3)
    assert max(depths) == 1


def depth() -> int:
    """Return how many blocks are one around the other."""
    count = 0
    block: Any = active_store()
    while type(block).__name__ == "Block":
        count, block = count + 1, block._around
    return count
