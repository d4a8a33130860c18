"""Loops and blocks of an aio-pika application that is instrumented, whole or in part."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest
from aio_pika.patterns import JsonRPC

from mqctx import Context, bind, configure, current, scope
from mqctx.adapters.aio_pika import instrument, publish, restored, uninstrument
from tests.drivers.handling import SECONDS
from tests.drivers.on_aio_pika import Connect

CONTEXTS: list[dict[str, str]] = [{"user": "ada"}, {}, {"user": "grace"}]


@pytest.fixture(autouse=True)
def _not_instrumented_afterwards() -> Iterator[None]:
    original = aio_pika.queue.QueueIterator.__anext__
    with scope(user="ambient"):
        yield
        assert current() == {"user": "ambient"}
    uninstrument()
    assert aio_pika.queue.QueueIterator.__anext__ is original


@asynccontextmanager
async def queue_of_contexts(url: str, name: str, connect: Connect) -> AsyncIterator[Any]:
    """Give a queue with a message of each of CONTEXTS."""
    async with await connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name)
        for context in CONTEXTS:
            with Context(context).scope():
                await publish(channel.default_exchange, aio_pika.Message(b"42"), name)
        yield queue


@pytest.mark.asyncio
async def test_the_body_of_a_loop_is_in_its_messages_context_and_the_next_one_is_clean(
    amqp_url: str, queue_name: str, connect: Connect
) -> None:
    instrument()
    seen: list[Context] = []
    async with queue_of_contexts(amqp_url, queue_name, connect) as queue:
        async with queue.iterator(timeout=SECONDS) as messages:
            async for message in messages:
                seen.append(current())
                with restored(message):
                    assert current() == seen[-1]
                async with message.process():
                    assert current() == seen[-1]
                if len(seen) == len(CONTEXTS):
                    break
        assert current() == {"user": "ambient"}
    assert seen == CONTEXTS


@pytest.mark.asyncio
async def test_a_loop_whose_end_cannot_be_seen_is_left_alone_but_its_process_blocks_are_not(
    amqp_url: str, queue_name: str, connect: Connect
) -> None:
    instrument()
    seen: list[Context] = []
    async with queue_of_contexts(amqp_url, queue_name, connect) as queue:
        async for message in queue:
            assert current() == {"user": "ambient"}
            async with message.process():
                seen.append(current())
            if len(seen) == len(CONTEXTS):
                break
    assert seen == CONTEXTS


@pytest.mark.asyncio
async def test_a_loop_that_times_out_leaves_nothing_active(
    amqp_url: str, queue_name: str, connect: Connect
) -> None:
    seen: list[Context] = []

    async def consume() -> None:
        async with (
            queue_of_contexts(amqp_url, queue_name, connect) as queue,
            queue.iterator(timeout=0.5, no_ack=True) as messages,
        ):
            async for _ in messages:
                seen.append(current())  # noqa: PERF401 - what came before the timeout counts

    instrument()
    with pytest.raises(asyncio.TimeoutError):
        await consume()
    assert seen == CONTEXTS


@pytest.mark.asyncio
async def test_leaving_in_the_middle_of_a_loop_undoes_what_the_loop_did(
    amqp_url: str, queue_name: str, connect: Connect
) -> None:
    instrument()
    seen: list[Context] = []
    async with (
        queue_of_contexts(amqp_url, queue_name, connect) as queue,
        queue.iterator(timeout=SECONDS, no_ack=True) as messages,
    ):
        async for _ in messages:
            seen.append(current())
            uninstrument()
            if len(seen) == len(CONTEXTS):
                break
    assert seen == [CONTEXTS[0], {"user": "ambient"}, {"user": "ambient"}]


@pytest.mark.asyncio
async def test_a_header_that_cannot_be_read_is_rejected_once(
    amqp_url: str, queue_name: str, connect: Connect
) -> None:
    rejections = configure(on_rejected=lambda _: None).rejections
    async with await connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(queue_name)
        broken = aio_pika.Message(b"42", headers={"mqctx": "nonsense"})
        await channel.default_exchange.publish(broken, queue_name)
        instrument()
        async with queue.iterator(timeout=SECONDS) as messages:
            async for message in messages:
                with restored(message):
                    async with message.process():
                        assert current() == {}
                break
    assert rejections.total() == 1


@pytest.mark.asyncio
async def test_a_reply_of_rpc_is_not_lost_to_a_context_that_is_too_large(
    amqp_url: str, queue_name: str, connect: Connect
) -> None:
    rejections = configure(on_rejected=lambda _: None).rejections
    instrument()

    async def price(article: str) -> str:
        bind(note="x" * 5_000)
        return f"{current()['user']} pays for {article}"

    async with await connect(amqp_url) as connection:
        rpc = await JsonRPC.create(await connection.channel())
        await rpc.register(queue_name, price, auto_delete=True)
        with Context(user="ada").scope():
            assert await rpc.call(queue_name, {"article": "pen"}) == "ada pays for pen"
    assert rejections["too-large"] == 1


@pytest.mark.asyncio
async def test_no_handler_sees_the_request_that_the_channel_was_opened_in(
    amqp_url: str, queue_name: str, connect: Connect
) -> None:
    instrument()
    seen: list[Context] = []
    handled = asyncio.Event()

    async def on_message(message: Any) -> None:
        seen.append(current())
        handled.set()

    with scope(request_id="of the first request"):
        async with await connect(amqp_url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(queue_name)
            await queue.consume(on_message, no_ack=True)
            with Context().scope():
                await channel.default_exchange.publish(aio_pika.Message(b"42"), queue_name)
            await asyncio.wait_for(handled.wait(), SECONDS)
    assert seen == [{}]


@pytest.mark.asyncio
@pytest.mark.parametrize("part", ["connection", "channel"])
async def test_one_connection_or_channel_is_instrumented_and_the_other_is_not(
    amqp_url: str, queue_name: str, connect: Connect, part: str
) -> None:
    with Context().scope():  # what is active where a channel is opened, its callbacks inherit
        chosen, other = await connect(amqp_url), await connect(amqp_url)
        second = other if part == "connection" else chosen
        channels = [await chosen.channel(), await second.channel()]
    async with chosen, other:
        target = chosen if part == "connection" else channels[0]
        instrument(target)
        seen = [await carried(channel, queue_name) for channel in channels]
        uninstrument(target)
        seen.append(await carried(channels[0], queue_name))
    assert seen == [({"user": "ada"}, {"user": "ada"}), ({}, {}), ({}, {})]


async def carried(channel: Any, name: str) -> tuple[object, object]:
    """Return the contexts of a callback and of a `process` block that a message comes to."""
    queue = await channel.declare_queue(name)
    seen: list[dict[str, Any]] = []
    handled = asyncio.Event()

    async def on_message(message: Any) -> None:
        seen.append(dict(current()))
        await message.ack()
        handled.set()

    with Context().scope():
        tag = await queue.consume(on_message)
        for user in ("ada", "ada"):
            with scope(user=user):
                await channel.default_exchange.publish(aio_pika.Message(b"42"), name)
            await asyncio.wait_for(handled.wait(), SECONDS)
            await queue.cancel(tag)
        message = await queue.get()
        async with message.process():
            seen.append(dict(current()))
    return seen[0], seen[1]
