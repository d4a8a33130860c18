"""The context in threads, pools and callbacks: what `wrap` takes along, and what goes by itself."""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from mqctx import Context, bind, current, run, scope, wrap

SECONDS = 10.0
"""How long anything here waits before it is a failure."""

THREADS_INHERIT = bool(getattr(sys.flags, "thread_inherit_context", False))
"""Whether a thread starts with what was active where it was started (Python 3.14, by a flag)."""


def test_twenty_threads_may_call_one_wrapped_function_at_once() -> None:
    inside = threading.Barrier(20)

    def meet() -> Context:
        inside.wait(SECONDS)
        return current()

    wrapped = Context(tenant="acme").wrap(meet)
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(wrapped) for _ in range(20)]
        assert [call.result(SECONDS) for call in calls] == [{"tenant": "acme"}] * 20


def test_two_threads_may_not_share_one_copy_of_the_context_variables() -> None:
    """Why there is `wrap`: the interpreter's own means serves one thread at a time."""
    inside = threading.Event()

    def wait() -> None:
        inside.wait(SECONDS)

    copied = contextvars.copy_context()
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(copied.run, wait) for _ in range(2)]
        while not any(call.done() for call in calls):
            assert not inside.wait(0.01)
        inside.set()
    assert [type(call.exception()) for call in calls if call.exception()] == [RuntimeError]


def test_a_wrapped_function_may_call_itself() -> None:
    def count_down(n: int) -> list[Context]:
        bind({f"level_{n}": n})
        return [current(), *(wrapped(n - 1) if n else [])]

    wrapped = Context(tenant="acme").wrap(count_down)
    assert wrapped(2) == [{"tenant": "acme", f"level_{n}": n} for n in (2, 1, 0)]


def test_twenty_tasks_may_call_one_wrapped_async_def_at_once() -> None:
    async def later() -> Context:
        await asyncio.sleep(0)
        return current()

    async def gather() -> list[Context]:
        wrapped = Context(tenant="acme").wrap(later)
        return await asyncio.gather(*(wrapped() for _ in range(20)))

    assert asyncio.run(gather()) == [{"tenant": "acme"}] * 20


def test_requests_that_share_a_pool_do_not_mix() -> None:
    def work(item: int) -> tuple[int, object]:
        bind(item=item)
        return item, current().get("request_id")

    def request(number: int) -> list[tuple[int, object]]:
        with scope(request_id=number):
            return list(pool.map(wrap(work), range(20)))

    with ThreadPoolExecutor(4) as pool, ThreadPoolExecutor(8) as server:
        answers = list(server.map(request, range(50)))
    assert answers == [[(item, number) for item in range(20)] for number in range(50)]


def test_a_thread_that_serves_a_queue_of_wrapped_jobs_is_in_each_ones_context() -> None:
    jobs: SimpleQueue[Callable[[], Context] | None] = SimpleQueue()
    seen: list[Context] = []

    def serve() -> None:
        while (job := jobs.get()) is not None:
            seen.append(job())

    thread = threading.Thread(target=serve)
    thread.start()
    for number in range(3):
        with scope(request_id=number):
            jobs.put(wrap(current))
    jobs.put(wrap(current))
    jobs.put(None)
    thread.join(SECONDS)
    assert seen == [{"request_id": 0}, {"request_id": 1}, {"request_id": 2}, {}]


def test_an_error_of_a_wrapped_function_is_its_callers() -> None:
    with ThreadPoolExecutor(1) as pool:
        failed = pool.submit(Context(tenant="acme").wrap(lambda: 1 / 0))
        assert isinstance(failed.exception(SECONDS), ZeroDivisionError)
        assert pool.submit(current).result(SECONDS) == {}


def test_wrap_keeps_its_context_in_a_thread_that_has_another() -> None:
    # As it is in a pool whose threads were started, on a Python where they inherit, in a request.
    other = Context(request_id="r-1", user="ada")
    with ThreadPoolExecutor(1, initializer=other.scope().__enter__) as pool:
        assert pool.submit(current).result(SECONDS) == other
        assert pool.submit(wrap(current)).result(SECONDS) == {}
        with scope(request_id="r-2"):
            assert pool.submit(wrap(current)).result(SECONDS) == {"request_id": "r-2"}


def test_a_thread_starts_without_context_unless_python_lets_it_inherit() -> None:
    seen: list[Context] = []
    with scope(request_id="r-1"):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join(SECONDS)
    assert seen == [{"request_id": "r-1"} if THREADS_INHERIT else {}]


class TestBind:
    def test_bind_reaches_a_thread_that_runs_in_a_copy_of_the_context_variables(self) -> None:
        bound, seen = threading.Event(), list[Context]()

        def look() -> None:
            assert bound.wait(SECONDS)
            seen.append(current())
            bind(by="thread")

        with scope(request_id="r-1"):
            copied = contextvars.copy_context()
            thread = threading.Thread(target=copied.run, args=(look,))
            thread.start()
            bind(user="ada")
            bound.set()
            thread.join(SECONDS)
            assert seen == [{"request_id": "r-1", "user": "ada"}]
            assert current()["by"] == "thread"

    def test_bind_after_wrap_does_not_reach_the_wrapped_function_nor_the_other_way(self) -> None:
        bound, seen = threading.Event(), list[Context]()

        def look() -> None:
            assert bound.wait(SECONDS)
            seen.append(current())
            bind(by="thread")

        with scope(request_id="r-1"):
            thread = threading.Thread(target=wrap(look))
            thread.start()
            bind(user="ada")
            bound.set()
            thread.join(SECONDS)
            assert seen == [{"request_id": "r-1"}]
            assert current() == {"request_id": "r-1", "user": "ada"}


class TestAsyncio:
    @pytest.mark.asyncio
    async def test_to_thread_takes_the_run_along_by_itself(self) -> None:
        with scope(request_id="r-1"):
            await asyncio.to_thread(bind, user="ada")
            assert await asyncio.to_thread(current) == {"request_id": "r-1", "user": "ada"}

    @pytest.mark.asyncio
    async def test_run_in_executor_takes_a_wrapped_function(self) -> None:
        loop = asyncio.get_running_loop()
        for number in range(3):
            with scope(request_id=number):
                seen = await loop.run_in_executor(None, wrap(current))
            assert seen == {"request_id": number}

    @pytest.mark.asyncio
    @pytest.mark.parametrize("name", ["call_soon", "call_later", "call_at", "call_soon_threadsafe"])
    async def test_a_callback_is_in_the_context_that_it_was_scheduled_in(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        seen: asyncio.Future[Context] = loop.create_future()
        schedule, when = getattr(loop, name), [0] if name in ("call_later", "call_at") else []
        with scope(request_id="r-1"):
            schedule(*when, lambda: seen.set_result(current()))
        assert await asyncio.wait_for(seen, SECONDS) == {"request_id": "r-1"}

    @pytest.mark.asyncio
    async def test_a_wrapped_thread_calls_back_in_its_context(self) -> None:
        loop = asyncio.get_running_loop()
        seen: asyncio.Future[Context] = loop.create_future()

        def work() -> None:
            bind(step="work")
            loop.call_soon_threadsafe(lambda: seen.set_result(current()))

        threading.Thread(target=Context(request_id="r-1").wrap(work)).start()
        assert await asyncio.wait_for(seen, SECONDS) == {"request_id": "r-1", "step": "work"}

    @pytest.mark.asyncio
    async def test_a_wrapped_thread_sends_a_coroutine_to_the_loop_in_its_context(self) -> None:
        async def later() -> Context:
            await asyncio.sleep(0)
            return current()

        def work() -> Context:
            return asyncio.run_coroutine_threadsafe(later(), loop).result(SECONDS)

        loop = asyncio.get_running_loop()
        with scope(request_id="r-1"):
            assert await loop.run_in_executor(None, wrap(work)) == {"request_id": "r-1"}


def test_a_wrapped_callback_of_a_future_is_in_its_context() -> None:
    seen: list[Context] = []
    future: Future[int] = Future()
    with scope(request_id="r-1"):
        future.add_done_callback(wrap(lambda _: seen.append(current())))
    thread = threading.Thread(target=future.set_result, args=(42,))
    thread.start()
    thread.join(SECONDS)
    assert seen == [{"request_id": "r-1"}]


def test_run_in_each_thread_is_a_run_of_its_own() -> None:
    def request(number: int) -> Context:
        bind(user=number)
        barrier.wait(SECONDS)
        return current()

    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        seen = pool.map(lambda n: run({"request_id": n}, request, n), range(4))
    assert list(seen) == [{"request_id": n, "user": n} for n in range(4)]
