"""Handlers that do odd things, sync ones under every client, `async def` ones under aio-pika."""

import asyncio
import contextvars
import functools
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import mqctx
from mqctx import Context, bind, current, scope, wrap
from mqctx.adapters.aio_pika import consume_with_context
from tests.adapters.clients import CLIENTS, AdapterClient, Headers, incoming
from tests.adapters.conftest import other

SECONDS = 30.0
"""How long anything here waits before it is a failure."""

pytestmark = pytest.mark.usefixtures("unchanged")

ADA: Headers = {"mqctx": '{"user":"ada"}'}
EVE: Headers = {"mqctx": '{"user":"eve"}'}


class TestSync:
    @pytest.fixture(params=CLIENTS)
    def client(self, request: pytest.FixtureRequest) -> AdapterClient:
        return CLIENTS[request.param]

    @pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_a_sync_handler_that_raises_leaves_what_was_active(
        self, client: AdapterClient, kind: type[BaseException]
    ) -> None:
        @client.adapter.consume_with_context
        def handler(*_: object) -> None:
            other.set("inside")
            bind(step="pay")
            raise kind(current()["user"])

        with pytest.raises(kind, match="ada"):
            handler(*client.delivery(ADA))
        assert current() == {"user": "ambient"}
        assert other.get() == "outside"

    def test_a_sync_handler_that_returns_a_generator_gives_it_to_the_caller_who_iterates_it(
        self, client: AdapterClient
    ) -> None:
        @client.adapter.consume_with_context
        def handler(*_: object) -> Iterator[Context]:
            return (current() for _ in range(1))

        assert list(handler(*client.delivery(ADA))) == [{"user": "ambient"}]

    def test_a_sync_handler_that_hides_a_generator_function_in_a_partial_is_refused(
        self, client: AdapterClient
    ) -> None:
        def generate(*_: object) -> Iterator[None]:
            yield

        for hidden in (functools.partial(generate), functools.partial(functools.partial(generate))):
            with pytest.raises(mqctx.HandlerError, match="generator function"):
                client.adapter.consume_with_context(hidden)

    def test_a_sync_handler_that_starts_a_thread_which_outlives_it_keeps_its_context(
        self, client: AdapterClient
    ) -> None:
        handled, seen = threading.Event(), list[Context]()

        def work() -> None:
            assert handled.wait(SECONDS)
            bind(by=current().get("user", ""))
            seen.append(current())

        @client.adapter.consume_with_context
        def handler(*_: object) -> threading.Thread:
            thread = threading.Thread(target=wrap(work))
            thread.start()
            return thread

        threads = [handler(*client.delivery(headers)) for headers in (ADA, None)]
        handled.set()
        for thread in threads:
            thread.join(SECONDS)
        assert sorted(seen, key=len) == [{"by": ""}, {"user": "ada", "by": "ada"}]

    def test_a_sync_handler_that_gives_work_to_a_pool_and_a_timer_keeps_its_context(
        self, client: AdapterClient
    ) -> None:
        timed: Future[Context] = Future()

        def note() -> None:
            timed.set_result(current())

        with ThreadPoolExecutor(1) as pool:

            @client.adapter.consume_with_context
            def handler(*_: object) -> Future[Context]:
                threading.Timer(0, wrap(note)).start()
                return pool.submit(wrap(current))

            assert handler(*client.delivery(ADA)).result(SECONDS) == {"user": "ada"}
            assert pool.submit(current).result(SECONDS) == {}
        assert timed.result(SECONDS) == {"user": "ada"}

    def test_a_sync_handler_that_copies_its_context_variables_shares_what_it_binds_later(
        self, client: AdapterClient
    ) -> None:
        copies: list[contextvars.Context] = []

        @client.adapter.consume_with_context
        def handler(*_: object) -> None:
            copies.append(contextvars.copy_context())
            bind(step="pay")

        handler(*client.delivery(ADA))
        assert copies[0].run(current) == {"user": "ada", "step": "pay"}

    def test_a_sync_handler_finds_in_another_librarys_linked_variable_what_its_message_brought(
        self, client: AdapterClient
    ) -> None:
        order: contextvars.ContextVar[str] = contextvars.ContextVar("order", default="none")
        mqctx.Variable("order", str, contextvar=order)
        seen: list[str] = []

        @client.adapter.consume_with_context
        def handler(*_: object) -> None:
            seen.append(order.get())

        for headers in ({"mqctx": '{"order":"7"}'}, None, {"mqctx": '{"order":"8"}'}):
            handler(*client.delivery(headers))
        assert seen == ["7", "none", "8"]
        assert order.get() == "none"

    def test_a_sync_handler_that_binds_does_not_change_the_next_message_of_the_same_context(
        self, client: AdapterClient
    ) -> None:
        seen: list[dict[str, Any]] = []

        @client.adapter.consume_with_context
        def handler(*_: object) -> None:
            seen.append(dict(current()))
            bind(step="pay", user="eve")

        for _ in range(3):
            handler(*client.delivery(dict(ADA)))
        assert seen == [{"user": "ada"}] * 3

    def test_a_sync_handler_that_sets_other_context_variables_keeps_them_to_itself(
        self, client: AdapterClient
    ) -> None:
        @client.adapter.consume_with_context
        def handler(*_: object) -> str:
            before = other.get()
            other.set("inside")
            return before

        other_before = other.set("ambient")
        try:
            assert [handler(*client.delivery(ADA)) for _ in range(3)] == ["ambient"] * 3
            assert other.get() == "ambient"
        finally:
            other.reset(other_before)

    def test_a_sync_handler_that_calls_another_one_directly_keeps_its_context(
        self, client: AdapterClient
    ) -> None:
        @client.adapter.consume_with_context
        def inner(*_: object) -> Context:
            bind(step="inner")
            return current()

        @client.adapter.consume_with_context
        def outer(*_: object) -> list[Context]:
            bind(step="outer")
            return [current(), inner(*client.delivery(EVE)), current()]

        ada, eve = {"user": "ada", "step": "outer"}, {"user": "eve", "step": "inner"}
        assert outer(*client.delivery(ADA)) == [ada, eve, ada]

    def test_a_sync_handler_that_calls_itself_with_other_messages_keeps_its_context(
        self, client: AdapterClient
    ) -> None:
        @client.adapter.consume_with_context
        def handler(*delivery: Any) -> list[Context]:
            message = deliveries.pop() if deliveries else None
            inner: list[Context] = [] if message is None else handler(*message)
            return [current(), *inner, current()]

        deliveries = [client.delivery(headers) for headers in (None, EVE, ADA)]
        ada, eve = {"user": "ada"}, {"user": "eve"}
        assert handler(*client.delivery(ADA)) == [ada, ada, eve, {}, {}, eve, ada, ada]

    def test_a_sync_handler_that_uses_context_managers_which_set_and_reset_keeps_its_context(
        self, client: AdapterClient
    ) -> None:
        @contextmanager
        def step(name: str) -> Iterator[None]:
            with scope(step=name):
                yield

        @client.adapter.consume_with_context
        def handler(*_: object) -> list[Context]:
            with step("pay"):
                inside = current()
            return [inside, current()]

        assert handler(*client.delivery(ADA)) == [{"user": "ada", "step": "pay"}, {"user": "ada"}]

    def test_a_sync_handler_that_runs_coroutines_itself_keeps_its_context(
        self, client: AdapterClient
    ) -> None:
        async def work() -> tuple[Context, Context]:
            await asyncio.sleep(0)
            return current(), await asyncio.create_task(seen_later())

        @client.adapter.consume_with_context
        def handler(*_: object) -> tuple[Context, Context]:
            return asyncio.run(work())

        assert handler(*client.delivery(ADA)) == ({"user": "ada"}, {"user": "ada"})

    def test_a_sync_handler_that_gives_coroutines_to_the_running_loop_keeps_its_context(
        self, client: AdapterClient
    ) -> None:
        @client.adapter.consume_with_context
        def handler(*_: object) -> asyncio.Task[Context]:
            return asyncio.get_running_loop().create_task(seen_later())

        async def consume() -> list[Context]:
            tasks = [handler(*client.delivery(headers)) for headers in (ADA, None, EVE)]
            return await asyncio.gather(*tasks)

        assert asyncio.run(consume()) == [{"user": "ada"}, {}, {"user": "eve"}]


Handler = Callable[[Any], Coroutine[Any, Any, Any]]


async def seen_later() -> Context:
    """Return what is active after the loop went round."""
    await asyncio.sleep(0.001)
    return current()


def consumed(handler: Handler, headers: Headers | None = ADA) -> Any:
    """Run a handler as aio-pika does, in a task of its own; return what it returns."""

    async def consume() -> Any:
        return await asyncio.wait_for(asyncio.create_task(handler(incoming(headers))), SECONDS)

    return asyncio.run(consume())


class TestAsync:
    def test_an_async_handler_that_raises_after_it_waited_keeps_its_context(self) -> None:
        @consume_with_context
        async def handler(message: object) -> None:
            try:
                await asyncio.sleep(0)
                raise LookupError
            finally:
                await asyncio.sleep(0)
                seen.append(current())

        seen: list[Context] = []
        with pytest.raises(LookupError):
            consumed(handler)
        assert seen == [{"user": "ada"}]

    def test_an_async_handler_that_is_awaited_in_the_callers_task_leaves_what_was_active(
        self,
    ) -> None:
        @consume_with_context
        async def handler(message: object) -> object:
            other.set("inside")
            bind(step="pay")
            await asyncio.sleep(0)
            return asyncio.current_task()

        async def consume() -> None:
            assert await handler(incoming(ADA)) is asyncio.current_task()
            assert current() == {"user": "ambient"}
            assert other.get() == "outside"

        asyncio.run(consume())

    def test_an_async_handler_that_is_cancelled_cleans_up_in_its_context(self) -> None:
        @consume_with_context
        async def handler(message: object) -> None:
            try:
                started.set()
                await asyncio.sleep(SECONDS)
            except asyncio.CancelledError as cancelled:
                await asyncio.sleep(0)
                seen.append((current(), cancelled.args))
                raise

        async def consume() -> None:
            task = asyncio.create_task(handler(incoming(ADA)))
            await asyncio.wait_for(started.wait(), SECONDS)
            task.cancel("closing")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert current() == {"user": "ambient"}

        started, seen = asyncio.Event(), list[tuple[Mapping[str, object], Any]]()
        asyncio.run(consume())
        assert seen == [({"user": "ada"}, ("closing",))]

    def test_an_async_handler_that_is_cancelled_before_it_starts_keeps_its_context(self) -> None:
        @consume_with_context
        async def handler(message: object) -> None:
            seen.append(current())

        async def consume() -> None:
            task = asyncio.create_task(handler(incoming(ADA)))
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        seen: list[Context] = []
        asyncio.run(consume())
        assert seen == []

    def test_an_async_handler_that_goes_on_after_it_was_cancelled_keeps_its_context(self) -> None:
        @consume_with_context
        async def handler(message: object) -> tuple[Context, int]:
            task: Any = asyncio.current_task()
            task.cancel()
            try:
                await asyncio.sleep(SECONDS)
            except asyncio.CancelledError:
                task.uncancel()
            await asyncio.sleep(0)
            return current(), task.cancelling()

        assert consumed(handler) == ({"user": "ada"}, 0)

    def test_an_async_handler_that_times_out_inside_keeps_its_context(self) -> None:
        @consume_with_context
        async def handler(message: object) -> list[Context]:
            seen: list[Context] = []
            for wait in (timeout, wait_for):
                with pytest.raises(TimeoutError):
                    await wait(forever(seen))
                seen.append(current())
            return seen

        assert consumed(handler) == [{"user": "ada"}] * 4

    @pytest.mark.parametrize("around", ["timeout", "wait_for"])
    def test_an_async_handler_that_times_out_from_outside_keeps_its_context(
        self, around: str
    ) -> None:
        @consume_with_context
        async def handler(message: object) -> None:
            bind(step="pay")
            await forever(seen)

        async def consume() -> None:
            with pytest.raises(TimeoutError):
                await {"timeout": timeout, "wait_for": wait_for}[around](handler(incoming(ADA)))
            assert current() == {"user": "ambient"}

        seen: list[Context] = []
        asyncio.run(consume())
        assert seen == [{"user": "ada", "step": "pay"}]

    def test_an_async_handler_that_starts_tasks_which_outlive_it_keeps_its_context(self) -> None:
        async def work() -> Context:
            await handled.wait()
            return await seen_later()

        @consume_with_context
        async def handler(message: object) -> asyncio.Task[Context]:
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            bind(step="pay")
            return task

        async def consume() -> list[Context]:
            tasks = [await handler(incoming(headers)) for headers in (ADA, None, EVE)]
            handled.set()
            return await asyncio.wait_for(asyncio.gather(*tasks), SECONDS)

        handled = asyncio.Event()
        pay = {"step": "pay"}
        assert asyncio.run(consume()) == [{"user": "ada"} | pay, pay, {"user": "eve"} | pay]

    def test_an_async_handler_that_shields_work_from_its_own_cancellation_keeps_its_context(
        self,
    ) -> None:
        @consume_with_context
        async def handler(message: object) -> None:
            tasks.append(asyncio.create_task(seen_later()))
            await asyncio.shield(tasks[0])

        async def consume() -> Context:
            task = asyncio.create_task(handler(incoming(ADA)))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            return await tasks[0]

        tasks: list[asyncio.Task[Context]] = []
        assert asyncio.run(consume()) == {"user": "ada"}

    def test_an_async_handler_that_starts_threads_keeps_its_context(self) -> None:
        @consume_with_context
        async def handler(message: object) -> list[Context]:
            loop = asyncio.get_running_loop()
            return [
                await asyncio.to_thread(current),
                await loop.run_in_executor(None, wrap(current)),
                await loop.run_in_executor(None, current),
            ]

        assert consumed(handler) == [{"user": "ada"}, {"user": "ada"}, {}]

    def test_an_async_handler_that_leaves_callbacks_with_the_loop_keeps_its_context(self) -> None:
        @consume_with_context
        async def handler(message: object) -> asyncio.Future[Context]:
            loop = asyncio.get_running_loop()
            seen: asyncio.Future[Context] = loop.create_future()
            loop.call_later(0.001, lambda: seen.set_result(current()))
            return seen

        async def consume() -> Context:
            return await asyncio.wait_for(await handler(incoming(ADA)), SECONDS)

        assert asyncio.run(consume()) == {"user": "ada"}

    def test_an_async_handler_that_runs_a_task_group_whose_children_see_what_it_binds(self) -> None:
        @consume_with_context
        async def handler(message: object) -> list[Context]:
            async with asyncio.TaskGroup() as group:
                with scope(child=1):
                    first = group.create_task(seen_later())
                second = group.create_task(seen_later())
                bind(step="pay")
            return [first.result(), second.result(), current()]

        ada = {"user": "ada", "step": "pay"}
        assert consumed(handler) == [{"user": "ada", "child": 1}, ada, ada]

    def test_an_async_handler_that_runs_a_task_group_which_fails_keeps_its_context(self) -> None:
        async def fail() -> None:
            await asyncio.sleep(0)
            raise LookupError(current()["user"])

        @consume_with_context
        async def handler(message: object) -> list[Context]:
            seen: list[Context] = []
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
                    group.create_task(forever(seen))
            except* LookupError as errors:
                seen.append(current())
                raised.extend(errors.exceptions)
            return seen

        raised: list[BaseException] = []
        assert consumed(handler) == [{"user": "ada"}] * 2
        assert [error.args for error in raised] == [("ada",)]

    def test_an_async_handler_that_runs_in_a_task_group_beside_others_keeps_its_context(
        self,
    ) -> None:
        @consume_with_context
        async def handler(message: Any) -> Context:
            for step in range(10):
                bind(step=step)
                await asyncio.sleep(0)
                assert current() == {**message.headers["own"], "step": step}
            return current()

        async def consume() -> list[asyncio.Task[Context]]:
            async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
                return [group.create_task(handler(incoming(each))) for each in headers]

        headers = [{"mqctx": f'{{"n":{n}}}', "own": {"n": n}} for n in range(100)]
        tasks = asyncio.run(consume())
        assert [task.result() for task in tasks] == [{"n": n, "step": 9} for n in range(100)]

    def test_an_async_handler_that_uses_async_context_managers_keeps_its_context(self) -> None:
        @asynccontextmanager
        async def step(name: str) -> AsyncIterator[Context]:
            with scope(step=name) as context:
                await asyncio.sleep(0)
                yield context
                await asyncio.sleep(0)
                bind(left=True)
                seen.append(current())

        @consume_with_context
        async def handler(message: object) -> list[Context]:
            async with step("pay") as inside:
                seen.extend([inside, current()])
            seen.append(current())
            return seen

        seen: list[Context] = []
        ada, pay = {"user": "ada"}, {"user": "ada", "step": "pay"}
        assert consumed(handler) == [pay, pay, pay | {"left": True}, ada]

    def test_an_async_handler_that_iterates_an_async_generator_of_its_own_keeps_its_context(
        self,
    ) -> None:
        async def contexts() -> AsyncIterator[Context]:
            while True:
                await asyncio.sleep(0)
                yield current()

        @consume_with_context
        async def handler(message: object) -> list[Context]:
            source = contexts()
            with scope(step="pay"):
                first = await anext(source)
            return [first, await anext(source)]

        assert consumed(handler) == [{"user": "ada", "step": "pay"}, {"user": "ada"}]

    def test_an_async_handler_that_calls_another_one_directly_and_itself_keeps_its_context(
        self,
    ) -> None:
        @consume_with_context
        async def handler(message: object, depth: int = 0) -> list[Context]:
            bind(depth=depth)
            await asyncio.sleep(0)
            inner = [] if depth == 2 else await handler(incoming(EVE), depth=depth + 1)
            return [current(), *inner, current()]

        levels = [{"user": user, "depth": n} for n, user in enumerate(["ada", "eve", "eve"])]
        assert consumed(lambda message: by_name(handler, message)) == [*levels, *reversed(levels)]

    def test_an_async_handler_that_is_an_async_generator_is_refused_with_the_way_out(self) -> None:
        async def generate(message: object) -> AsyncIterator[None]:
            yield

        class Worker:
            async def __call__(self, message: object) -> AsyncIterator[None]:
                yield

        for refused in (generate, functools.partial(generate), Worker()):
            with pytest.raises(mqctx.HandlerError, match=r"with restored\(...\)"):
                consume_with_context(refused)

    @pytest.mark.parametrize("cancelled", [False, True])
    def test_an_async_handler_that_fails_or_is_cancelled_frees_its_message_at_once(
        self, cancelled: bool
    ) -> None:
        @consume_with_context
        async def handler(message: object) -> None:
            await (asyncio.sleep(SECONDS) if cancelled else asyncio.to_thread(int, "no number"))

        async def consume() -> weakref.ref[object]:
            message = Message(headers=ADA)
            task = asyncio.create_task(handler(message))
            await asyncio.sleep(0)
            if cancelled:
                task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or isinstance(task.exception(), ValueError)
            return weakref.ref(message)

        gc.disable()
        try:
            assert asyncio.run(consume())() is None
        finally:
            gc.enable()

    def test_an_async_handler_that_never_runs_can_be_closed(self) -> None:
        @consume_with_context
        async def handler(message: object) -> None:
            raise AssertionError

        waiting = handler(incoming(ADA))
        waiting.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            waiting.send(None)


class Message(SimpleNamespace):
    """As much of a message as a handler needs, and one that may be watched as it goes."""


async def by_name(handler: Callable[..., Any], message: object) -> Any:
    """Call a handler with the message by name, as a test would."""
    return await handler(message=message)


async def forever(seen: list[Context]) -> None:
    """Wait until cancelled; note what is active then."""
    try:
        await asyncio.sleep(2 * SECONDS)
    finally:
        seen.append(current())


async def timeout(work: Coroutine[Any, Any, object]) -> None:
    """Give up on `work` soon."""
    async with asyncio.timeout(0.01):
        await work


async def wait_for(work: Coroutine[Any, Any, object]) -> None:
    """Give up on `work` soon, in the other way."""
    await asyncio.wait_for(work, 0.01)
