"""Run, scope, bind and wrap: what is active inside, and that it is what it was before after."""

import asyncio
import contextvars
import functools
import gc
import inspect
import pickle
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import mqctx
from mqctx import Context, bind, current, run, scope, wrap
from mqctx._core.isolation import call, first_step, rest
from mqctx._core.scope import Scope
from mqctx._core.store import active_store

other: contextvars.ContextVar[str] = contextvars.ContextVar("other", default="outside")


def tenant() -> object:
    return current().get("tenant")


async def tenant_later(*, rounds: int = 3) -> object:
    for _ in range(rounds):
        await asyncio.sleep(0)
    return tenant()


class TenantWorker:
    def sync_method(self) -> object:
        return tenant()

    async def async_method(self) -> object:
        return await tenant_later()


class CompiledCoroutine(Coroutine[Any, Any, object]):
    """A coroutine that is not the interpreter's own, such as Cython makes."""

    def __init__(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self._made = coroutine

    def send(self, value: Any) -> object:
        return self._made.send(value)

    def throw(self, *error: Any) -> object:
        return self._made.throw(*error)

    def close(self) -> None:
        self._made.close()

    def __await__(self) -> Generator[Any, Any, object]:
        return self._made.__await__()


class AsyncCallable:
    async def __call__(self) -> object:
        return await tenant_later()


def test_current_is_empty_outside() -> None:
    assert current() == {}
    assert isinstance(current(), Context)


@pytest.mark.parametrize(
    "function",
    [tenant, functools.partial(tenant), TenantWorker().sync_method, lambda: tenant()],
    ids=["function", "partial", "method", "lambda"],
)
def test_run_takes_sync_callables(function: Callable[[], object]) -> None:
    assert run({"tenant": "acme"}, function) == "acme"
    assert Context(tenant="acme").wrap(function)() == "acme"
    assert current() == {}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "function",
    [
        tenant_later,
        functools.partial(tenant_later, rounds=1),
        TenantWorker().async_method,
        AsyncCallable(),
        functools.partial(AsyncCallable()),
        lambda: tenant_later(),
        lambda: CompiledCoroutine(tenant_later()),
    ],
    ids=["async def", "partial", "method", "object", "partial of object", "lambda", "compiled"],
)
async def test_run_takes_async_callables(function: Any) -> None:
    assert await run({"tenant": "acme"}, function) == "acme"
    assert await Context(tenant="acme").wrap(function)() == "acme"
    assert current() == {}


def test_run_passes_arguments_and_result() -> None:
    assert run({}, divmod, 7, 2) == (3, 1)
    assert run({}, dict, values=1, function=2) == {"values": 1, "function": 2}


def test_run_is_exactly_its_values_not_what_was_active() -> None:
    with scope(user="ada"):
        assert run({"tenant": "acme"}, current) == {"tenant": "acme"}
        assert current() == {"user": "ada"}


def test_run_checks_its_values() -> None:
    with pytest.raises(mqctx.InvalidValueError, match="when"):
        run({"when": object()}, tenant)


def test_an_exception_passes_through_run_and_leaves_nothing_active() -> None:
    with pytest.raises(ZeroDivisionError):
        run({"tenant": "acme"}, lambda: 1 / 0)
    assert current() == {}


def test_no_context_variable_that_a_function_sets_reaches_its_caller() -> None:
    run({}, other.set, "inside")
    assert other.get() == "outside"


def test_a_local_value_that_refers_to_its_own_run_is_freed() -> None:
    mqctx.Variable("worker", TenantWorker, local=True)

    def refer_to_run() -> weakref.ref[TenantWorker]:
        worker = current()["worker"]
        worker.variables = contextvars.copy_context()
        return weakref.ref(worker)

    reference = run({"worker": TenantWorker()}, refer_to_run)
    gc.collect()
    assert reference() is None


@pytest.mark.asyncio
async def test_no_context_variable_that_a_coroutine_sets_reaches_the_task_that_awaits_it() -> None:
    async def set_and_wait() -> str:
        other.set("inside")
        await asyncio.sleep(0)
        return other.get()

    assert await run({}, set_and_wait) == "inside"
    assert other.get() == "outside"


@pytest.mark.asyncio
async def test_a_coroutine_stays_in_the_task_that_awaits_it() -> None:
    async def which() -> object:
        await asyncio.sleep(0)
        return asyncio.current_task()

    assert await run({}, which) is asyncio.current_task()


@pytest.mark.asyncio
async def test_the_result_of_run_can_become_a_task() -> None:
    task = asyncio.create_task(run({"tenant": "acme"}, tenant_later))
    assert await task == "acme"


@pytest.mark.asyncio
async def test_cancellation_reaches_the_coroutine_inside_its_context() -> None:
    seen: list[object] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append(tenant())
            raise

    task = asyncio.create_task(run({"tenant": "acme"}, wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["acme"]


@pytest.mark.asyncio
async def test_a_timeout_inside_works_as_ever() -> None:
    async def wait() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            return str(tenant())
        return "no timeout"

    assert await run({"tenant": "acme"}, wait) == "acme"


@pytest.mark.asyncio
async def test_exceptions_pass_through_an_awaited_run() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError(tenant())

    with pytest.raises(LookupError, match="acme"):
        await run({"tenant": "acme"}, fail)


def test_closing_a_run_that_was_not_finished_cleans_up_inside_its_context() -> None:
    seen: list[object] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            seen.append(tenant())

    coroutine: Any = run({"tenant": "acme"}, wait)
    coroutine.send(None)
    coroutine.close()
    assert seen == ["acme"]


@pytest.mark.asyncio
async def test_tasks_started_inside_keep_the_context_after_the_run_ended() -> None:
    async def start() -> asyncio.Task[object]:
        return asyncio.create_task(tenant_later(rounds=5))

    task = await run({"tenant": "acme"}, start)
    assert current() == {}
    assert await task == "acme"


async def numbers() -> AsyncIterator[int]:
    yield 1


def letters() -> Iterator[str]:
    yield "a"


@pytest.mark.parametrize("function", [numbers, letters, functools.partial(numbers)])
def test_a_generator_function_is_refused_with_the_way_out(function: Any) -> None:
    uses: list[Callable[[Any], object]] = [Context().run, Context().wrap, scope()]
    for use in (*uses, lambda function: run({}, function)):
        with pytest.raises(mqctx.HandlerError, match="generator function.*restored"):
            use(function)


def test_what_is_no_function_is_refused_where_it_is_wrapped() -> None:
    not_one: Any = 5
    with pytest.raises(mqctx.HandlerError, match="5 is no function"):
        mqctx.wrap(not_one)


def test_a_function_may_return_a_generator_that_it_did_not_make_by_itself() -> None:
    assert list(run({}, lambda: letters())) == ["a"]


class TestScope:
    def test_a_scope_adds_to_what_is_active_and_ends_with_the_block(self) -> None:
        with scope(user="ada"), scope({"order.id": 7}) as inner:
            assert inner == current() == {"user": "ada", "order.id": 7}
        assert current() == {}

    def test_a_scope_of_a_context_is_exactly_that(self) -> None:
        with scope(user="ada"), Context(tenant="acme").scope():
            assert current() == {"tenant": "acme"}

    def test_a_scope_ends_with_an_exception_too(self) -> None:
        with pytest.raises(ZeroDivisionError), scope(user="ada"):
            _ = 1 / 0
        assert current() == {}

    def test_a_scope_can_be_entered_again_once_it_was_left(self) -> None:
        again = scope(user="ada")
        for _ in range(2):
            with again:
                assert current() == {"user": "ada"}

    def test_a_scope_in_use_refuses_a_second_use(self) -> None:
        shared = scope(user="ada")
        with shared, pytest.raises(mqctx.ScopeError, match="anew"):
            shared.__enter__()

    def test_a_scope_checks_values_before_the_block_begins(self) -> None:
        with pytest.raises(mqctx.InvalidValueError, match="price"):
            scope(price=object())

    def test_a_scope_decorates_a_sync_function_which_keeps_its_kind_and_name(self) -> None:
        @scope(tenant="acme")
        def job(*, extra: str) -> tuple[object, str]:
            """Do it."""
            return tenant(), extra

        assert job(extra="x") == ("acme", "x")
        assert (job.__name__, job.__doc__) == ("job", "Do it.")
        assert not inspect.iscoroutinefunction(job)
        assert current() == {}

    @pytest.mark.asyncio
    async def test_a_scope_decorates_an_async_def_which_stays_one(self) -> None:
        @scope(tenant="acme")
        async def job() -> object:
            return await tenant_later()

        assert inspect.iscoroutinefunction(job)
        assert await job() == "acme"

    def test_a_scope_decorator_adds_to_what_is_active_at_the_call(self) -> None:
        job = scope(tenant="acme")(current)
        with scope(user="ada"):
            assert job() == {"user": "ada", "tenant": "acme"}

    def test_a_scope_that_was_not_entered_may_be_left(self) -> None:
        with scope(a=1):
            scope(b=2).__exit__(None, None, None)
            assert current() == {"a": 1}

    def test_a_scope_left_in_another_snapshot_than_entered_does_not_raise(self) -> None:
        late = scope(user="late")
        contextvars.copy_context().run(late.__enter__)
        with scope(user="ada"):
            late.__exit__(None, None, None)
            assert current() == {"user": "ada"}

    def test_a_scope_left_in_a_copy_of_the_snapshot_it_was_entered_in_ends_there(self) -> None:
        def enter_and_copy() -> contextvars.Context:
            block.__enter__()
            return contextvars.copy_context()

        block = scope(user="ada")
        with scope(tenant="acme"):
            copied = contextvars.copy_context().run(enter_and_copy)
        copied.run(block.__exit__, None, None, None)
        assert copied.run(current) == {"tenant": "acme"}

    def test_a_scope_left_in_a_copy_with_nothing_before_is_empty_there(self) -> None:
        def enter_and_copy() -> contextvars.Context:
            block.__enter__()
            return contextvars.copy_context()

        block = scope(user="ada")
        copied = contextvars.copy_context().run(enter_and_copy)
        copied.run(block.__exit__, None, None, None)
        assert copied.run(current) == {}


class TestBind:
    def test_bind_adds_to_the_run_under_way(self) -> None:
        def request() -> Context:
            authenticate()
            return current()

        def authenticate() -> None:
            bind(user="ada")

        assert run({"request_id": "r-1"}, request) == {"request_id": "r-1", "user": "ada"}
        assert current() == {}

    def test_bind_outside_a_run_is_an_error(self) -> None:
        said = r"bind\(user\) outside a run .* a test .* @pytest.mark.mqctx, .* mqctx.scope\(\)"
        with pytest.raises(mqctx.InactiveError, match=said):
            bind(user="ada")

    def test_bind_checks_its_values(self) -> None:
        with scope(), pytest.raises(mqctx.InvalidValueError, match="user"):
            bind(user=object())

    def test_bind_ends_with_the_innermost_scope(self) -> None:
        with scope(user="ada"):
            with scope():
                bind(step="pay")
                assert current() == {"user": "ada", "step": "pay"}
            assert current() == {"user": "ada"}

    def test_bind_is_seen_by_threads_and_tasks_that_run_in_copies(self) -> None:
        with scope(request_id="r-1"):
            copied = contextvars.copy_context()
            bind(user="ada")
            with ThreadPoolExecutor(1) as pool:
                seen = pool.submit(copied.run, current).result()
        assert seen == {"request_id": "r-1", "user": "ada"}

    def test_bind_from_a_copy_reaches_the_run(self) -> None:
        with scope(request_id="r-1"):
            contextvars.copy_context().run(bind, {"user": "ada"})
            assert current()["user"] == "ada"

    def test_bind_loses_nothing_when_threads_bind_at_the_same_time(self) -> None:
        names = [f"name_{n}" for n in range(200)]
        barrier = threading.Barrier(4)

        def bind_some(mine: list[str]) -> None:
            barrier.wait()
            for name in mine:
                bind({name: 1})

        with scope():
            copies = [contextvars.copy_context() for _ in range(4)]
            with ThreadPoolExecutor(4) as pool:
                for n, copied in enumerate(copies):
                    pool.submit(copied.run, bind_some, names[n::4])
            assert set(current()) == set(names)


class TestWrap:
    def test_a_wrapped_function_carries_the_active_context_into_a_thread(self) -> None:
        with ThreadPoolExecutor(1) as pool, scope(tenant="acme"):
            assert pool.submit(wrap(tenant)).result() == "acme"

    def test_a_wrapped_function_leaves_nothing_active_in_the_thread(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(Context(tenant="acme").wrap(other.set), "inside").result()
            assert pool.submit(tenant).result() is None
            assert pool.submit(other.get).result() == "outside"

    def test_a_wrapped_function_carries_the_context_into_a_timer(self) -> None:
        seen: list[object] = []

        def note() -> None:
            seen.append(tenant())

        timer = threading.Timer(0, Context(tenant="acme").wrap(note))
        timer.start()
        timer.join(10)
        assert seen == ["acme"]

    def test_a_wrapped_function_can_be_pickled(self) -> None:
        wrapped = pickle.loads(pickle.dumps(Context(tenant="acme").wrap(tenant)))  # noqa: S301 - our own bytes
        assert wrapped() == "acme"

    def test_a_wrapped_async_def_can_be_pickled_too(self) -> None:
        wrapped = pickle.loads(pickle.dumps(Context(tenant="acme").wrap(tenant_later)))  # noqa: S301 - our own bytes
        assert asyncio.run(wrapped(rounds=1)) == "acme"

    def test_a_wrapped_function_keeps_name_docstring_and_signature(self) -> None:
        wrapped = Context().wrap(tenant_later)
        assert wrapped.__name__ == "tenant_later"
        assert inspect.signature(wrapped) == inspect.signature(tenant_later)

    def test_a_wrapped_async_def_is_awaited_like_one(self) -> None:
        wrapped: Any = Context(tenant="acme").wrap(tenant_later)
        assert inspect.iscoroutinefunction(wrapped.__call__)
        assert asyncio.run(wrapped(rounds=1)) == "acme"

    def test_a_wrapped_function_shows_what_it_wraps_and_in_which_context(self) -> None:
        assert "function tenant" in repr(Context(tenant="acme").wrap(tenant))
        assert "tenant='acme'" in repr(Context(tenant="acme").wrap(tenant))


@pytest.mark.parametrize("headers", [None, {"h": "1"}])
def test_a_block_is_known_for_one_until_it_ends(headers: object) -> None:
    with Scope(Context(tenant="acme"), True, headers):
        store = active_store()
        assert store.held
    assert not store.held


@pytest.mark.parametrize("snapshot", [None, contextvars.copy_context()])
def test_what_is_called_gets_its_arguments(snapshot: contextvars.Context | None) -> None:
    def work(*args: object, **more: object) -> object:
        return args, more

    assert call(snapshot, work, 1, two=2) == ((1,), {"two": 2})


def test_what_is_begun_runs_at_once_as_far_as_it_goes_without_waiting() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        await asyncio.sleep(0)
        steps.append("ended")

    snapshot = contextvars.copy_context()
    begun: Any = snapshot.run(first_step, steps.append, "entered", work)
    assert steps == ["entered", "begun"]

    async def go_on() -> None:
        await rest(snapshot, begun)

    asyncio.run(go_on())
    assert steps == ["entered", "begun", "ended"]
