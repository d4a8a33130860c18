"""Loops and blocks of an instrumented aio-pika application that end out of order, or elsewhere."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import aio_pika
import pytest

from mqctx import Context, InactiveError, Variable, bind, current, scope
from mqctx.adapters import aio_pika as adapter
from mqctx.adapters.aio_pika import instrument, publish, uninstrument
from tests.drivers.handling import SECONDS
from tests.drivers.on_aio_pika import Connect

AMBIENT = {"user": "ambient"}


@pytest.fixture(autouse=True)
def _instrumented() -> Iterator[None]:
    original = aio_pika.queue.QueueIterator.__anext__
    instrument()
    with scope(AMBIENT):
        yield
        assert current() == AMBIENT
    uninstrument()
    assert aio_pika.queue.QueueIterator.__anext__ is original


@asynccontextmanager
async def queue_of_count(url: str, connect: Connect, count: int) -> AsyncIterator[Any]:
    """Give a queue with so many messages: the body is a number, the context has it as `n`."""
    async with await connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        for n in range(count):
            with Context(n=n).scope():
                await publish(channel.default_exchange, aio_pika.Message(b"%d" % n), queue.name)
        yield queue


def of(message: Any) -> dict[str, int]:
    """Return the context that the message was published in."""
    return {"n": int(message.body)}


async def processed_messages(queue: Any) -> AsyncIterator[Any]:
    async with queue.iterator() as messages:
        async for message in messages:
            async with message.process():
                yield message


class TestWorkersThatShareAnIterator:
    @pytest.mark.asyncio
    async def test_workers_on_one_iterator_have_each_their_messages_context_and_none_afterwards(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async def work(messages: Any) -> None:
            async for message in messages:
                assert current() == of(message)
                await asyncio.sleep(0)
                assert current() == of(message)
                await message.ack()
                if message.body in b"45":
                    await messages.close()
            assert current() == AMBIENT

        async with queue_of_count(amqp_url, connect, 6) as queue, queue.iterator() as messages:
            await asyncio.gather(work(messages), work(messages))

    @pytest.mark.asyncio
    async def test_workers_on_one_iterator_are_outside_when_they_break_out_of_the_loop(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async def work(messages: Any) -> None:
            async for message in messages:
                await message.ack()
                break
            assert current() == AMBIENT

        async with queue_of_count(amqp_url, connect, 2) as queue, queue.iterator() as messages:
            await asyncio.gather(work(messages), work(messages))

    @pytest.mark.asyncio
    async def test_workers_on_one_iterator_finish_their_message_in_its_context_when_it_was_left(
        self, amqp_url: str, connect: Connect
    ) -> None:
        entered, left = asyncio.Event(), asyncio.Event()

        async def work(messages: Any) -> None:
            async for message in messages:
                entered.set()
                await left.wait()
                assert current() == of(message)
                await message.ack()
            assert current() == AMBIENT

        async with queue_of_count(amqp_url, connect, 1) as queue:
            async with queue.iterator() as messages:
                worker = asyncio.create_task(work(messages))
                await asyncio.wait_for(entered.wait(), SECONDS)
            left.set()
            await asyncio.wait_for(worker, SECONDS)


class TestGenerator:
    @pytest.mark.asyncio
    async def test_a_generator_that_is_left_early_leaves_nothing_active(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async def first(queue: Any) -> Any:
            async for message in processed_messages(queue):
                assert current() == of(message)
                return message
            raise AssertionError

        async with queue_of_count(amqp_url, connect, 1) as queue:
            message = await first(queue)
            await until(lambda: message.processed)  # by the task that closes the generator
            await until(lambda: not adapter._blocks)
            assert current() == AMBIENT

    @pytest.mark.asyncio
    async def test_a_generator_that_is_left_early_leaves_its_owner_where_it_was_for_bind(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async def bind_after(queue: Any) -> None:
            generator: Any = processed_messages(queue)
            await anext(generator)
            await asyncio.create_task(generator.aclose())
            bind(step="after")

        async with queue_of_count(amqp_url, connect, 2) as queue:
            with scope(AMBIENT):
                await bind_after(queue)
                assert current() == {**AMBIENT, "step": "after"}
            with pytest.raises(InactiveError):
                await asyncio.create_task(bind_after(queue), context=contextvars.Context())

    @pytest.mark.asyncio
    async def test_a_generator_that_takes_each_message_by_itself_leaves_nothing_active(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async def one_by_one(queue: Any) -> AsyncIterator[Any]:
            async with queue.iterator(no_ack=True) as messages:
                while True:
                    yield await anext(messages)

        async with queue_of_count(amqp_url, connect, 1) as queue:
            generator: Any = one_by_one(queue)
            message = await anext(generator)
            assert current() == of(message)
            await asyncio.create_task(generator.aclose())
            assert current() == AMBIENT

    @pytest.mark.asyncio
    async def test_a_generator_that_another_task_closes_gives_linked_variables_back(
        self, amqp_url: str, connect: Connect
    ) -> None:
        number: ContextVar[int] = ContextVar("number", default=-1)
        Variable("n", int, contextvar=number)
        async with queue_of_count(amqp_url, connect, 1) as queue:
            generator: Any = processed_messages(queue)
            message = await anext(generator)
            assert number.get() == of(message)["n"]
            assert current() == of(message)
            await asyncio.create_task(generator.aclose())
            assert current() == AMBIENT
            assert number.get() == -1


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks do."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - the library has no event for it
            await asyncio.sleep(0.001)


class TestNext:
    @pytest.mark.asyncio
    async def test_anext_that_another_task_awaits_is_in_the_callers_body_all_the_same(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async with queue_of_count(amqp_url, connect, 3) as queue:
            async with queue.iterator(no_ack=True) as messages:
                for n in range(2):
                    message = await asyncio.wait_for(anext(messages), SECONDS)
                    assert current() == of(message) == {"n": n}
                message = await asyncio.create_task(messages.__anext__())
                assert current() == of(message) == {"n": 2}
            assert current() == AMBIENT

    @pytest.mark.asyncio
    async def test_anext_that_times_out_leaves_nothing_active(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async with queue_of_count(amqp_url, connect, 0) as queue, queue.iterator() as messages:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(messages), 0.01)
            assert current() == AMBIENT

    @pytest.mark.asyncio
    async def test_anext_of_several_at_once_is_left_alone(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async with (
            queue_of_count(amqp_url, connect, 3) as queue,
            queue_of_count(amqp_url, connect, 3) as other,
            queue.iterator(no_ack=True) as messages,
            other.iterator(no_ack=True) as others,
        ):
            await asyncio.gather(anext(messages), anext(messages))
            assert current() == AMBIENT
            await asyncio.gather(anext(messages), anext(others))
            assert current() == AMBIENT
            message = await anext(others)
            assert current() == of(message)

    @pytest.mark.asyncio
    async def test_anext_that_another_task_awaits_is_left_alone_where_variables_are_linked(
        self, amqp_url: str, connect: Connect
    ) -> None:
        number: ContextVar[int] = ContextVar("number", default=-1)
        Variable("n", int, contextvar=number)
        async with (
            queue_of_count(amqp_url, connect, 2) as queue,
            queue.iterator(no_ack=True) as messages,
        ):
            await asyncio.create_task(messages.__anext__())
            assert current() == AMBIENT
            message = await anext(messages)
            assert current() == of(message)
            assert number.get() == 1
        assert number.get() == -1

    @pytest.mark.asyncio
    async def test_anext_on_what_aiter_returned_ends_with_the_block(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async with queue_of_count(amqp_url, connect, 1) as queue:
            async with queue.iterator(no_ack=True) as messages:
                loop: Any = aiter(messages)
                assert aiter(loop) is loop
                assert loop.consumer_tag == messages.consumer_tag
                message = await anext(loop)
                assert current() == of(message)
            assert current() == AMBIENT


class TestBlocks:
    @pytest.mark.asyncio
    async def test_blocks_that_overlap_leave_nothing_active(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async with queue_of_count(amqp_url, connect, 2) as queue:
            first, second = await queue.get(), await queue.get()
            one, two = first.process(), second.process()
            await one.__aenter__()
            await two.__aenter__()
            await one.__aexit__(None, None, None)
            assert current() == of(second)
            await two.__aexit__(None, None, None)
            assert current() == AMBIENT

    @pytest.mark.asyncio
    async def test_blocks_that_overlap_give_linked_variables_back(
        self, amqp_url: str, connect: Connect
    ) -> None:
        number: ContextVar[int] = ContextVar("number", default=-1)
        Variable("n", int, contextvar=number)
        async with queue_of_count(amqp_url, connect, 3) as queue:
            one, two, three = [(await queue.get()).process() for _ in range(3)]
            await one.__aenter__()
            await two.__aenter__()
            await one.__aexit__(None, None, None)
            assert number.get() == 1
            await three.__aenter__()
            await two.__aexit__(None, None, None)
            assert number.get() == 2
            await three.__aexit__(None, None, None)
            assert number.get() == -1

    @pytest.mark.asyncio
    async def test_blocks_keep_the_context_for_what_was_started_in_them(
        self, amqp_url: str, connect: Connect
    ) -> None:
        over = asyncio.Event()
        seen: list[Context] = []

        async def later(message: Any) -> None:
            await over.wait()
            async with message.process():
                seen.append(current())

        async def in_a_thread() -> None:
            await over.wait()
            seen.append(await asyncio.to_thread(current))

        async with queue_of_count(amqp_url, connect, 2) as queue:
            tasks: list[asyncio.Task[None]] = []
            async with queue.iterator() as messages:
                async for message in messages:
                    tasks += asyncio.create_task(later(message)), asyncio.create_task(in_a_thread())
                    if len(tasks) == 4:
                        break
            over.set()
            await asyncio.gather(*tasks)
        assert sorted(context["n"] for context in seen) == [0, 0, 1, 1]

    @pytest.mark.asyncio
    async def test_blocks_that_are_open_when_the_hooks_go_are_ended_all_the_same(
        self, amqp_url: str, connect: Connect
    ) -> None:
        async with queue_of_count(amqp_url, connect, 2) as queue:
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        uninstrument()
                        assert current() == of(message)
                    break
            assert current() == AMBIENT
        assert not adapter._blocks
