"""taskiq, without a broker: its InMemoryBroker, with asyncio tasks of their own and in place."""

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from taskiq import (
    AsyncBroker,
    BrokerMessage,
    InMemoryBroker,
    ScheduledTask,
    ScheduleSource,
    SendTaskError,
    SimpleRetryMiddleware,
    SmartRetryMiddleware,
    TaskiqDepends,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqScheduler,
)
from taskiq import Context as TaskiqContext

import mqctx
from mqctx import Context, Propagator, bind, current, scope
from mqctx.adapters.taskiq import ContextMiddleware
from tests.adapters.conftest import other

pytestmark = [pytest.mark.usefixtures("ambient"), pytest.mark.asyncio]

Seen = list[Mapping[str, object]]


@pytest.fixture(params=["in place", "in a task"])
def taskiq_broker(request: pytest.FixtureRequest) -> Iterator[InMemoryBroker]:
    """Give a broker with our middleware."""
    broker = InMemoryBroker(await_inplace=request.param == "in place")
    broker.add_middlewares(ContextMiddleware())
    yield broker
    broker.executor.shutdown()


async def send_and_wait(context: Mapping[str, object], task: Any, *args: object) -> None:
    """Send a message in a context, and wait until it was handled, and what came of it."""
    with Context(context).scope() as active:
        try:
            await task.kiq(*args)
        finally:
            assert current() is active
            assert other.get() == "outside"
    await task.broker.wait_all()


async def deliver_labels(broker: InMemoryBroker, task: Any, **labels: object) -> None:
    """Deliver a message with exactly these labels, past `pre_send`; wait until it was handled."""
    name = task.task_name
    message = TaskiqMessage(task_id="t", task_name=name, labels=labels, args=[], kwargs={})
    active = current()
    await broker.kick(broker.formatter.dumps(message))
    assert current() is active
    assert other.get() == "outside"
    await broker.wait_all()


class Recorder(TaskiqMiddleware):
    """Notes the labels of each message that is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: list[Any] = []

    def post_send(self, message: TaskiqMessage) -> None:
        self.labels.append(message.labels)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_task_runs_in_the_context_that_its_message_brought(
    taskiq_broker: InMemoryBroker, kind: str
) -> None:
    seen: list[tuple[Mapping[str, object], str]] = []

    def note() -> None:
        seen.append((current(), other.get()))
        bind(step="pay")
        other.set("inside")

    async def note_async() -> None:
        await asyncio.sleep(0)
        note()

    task = taskiq_broker.register_task(note if kind == "sync" else note_async, "work")
    for header in ({"mqctx": '{"user":"ada"}'}, {}, {"mqctx": '{"tenant":"acme"}'}):
        await deliver_labels(taskiq_broker, task, **header)
    contexts: Seen = [{"user": "ada"}, {}, {"tenant": "acme"}]
    assert seen == [(context, "outside") for context in contexts]


async def test_a_message_is_sent_with_the_active_context(taskiq_broker: InMemoryBroker) -> None:
    seen: Seen = []

    @taskiq_broker.task
    async def second() -> None:
        seen.append(current())

    @taskiq_broker.task
    async def first() -> None:
        bind(by="first")
        with scope(step="pay"):
            await second.kiq()

    await send_and_wait({"user": "ada"}, first)
    await send_and_wait({}, second)
    assert seen == [{"user": "ada", "by": "first", "step": "pay"}, {}]


async def test_a_dependency_runs_in_the_context(taskiq_broker: InMemoryBroker) -> None:
    def active() -> Context:
        return current()

    seen: Seen = []

    @taskiq_broker.task
    async def work(context: Annotated[Context, TaskiqDepends(active)]) -> None:
        seen.append(context)

    await send_and_wait({"user": "ada"}, work)
    assert seen == [{"user": "ada"}]


async def test_a_task_that_fails_leaves_what_was_active(taskiq_broker: InMemoryBroker) -> None:
    @taskiq_broker.task
    async def work() -> None:
        other.set("inside")
        raise LookupError(current()["user"])

    await send_and_wait({"user": "ada"}, work)
    (result,) = taskiq_broker.result_backend.results.values()
    assert str(result.error) == "ada"


@pytest.mark.parametrize("first", [True, False])
async def test_a_retry_has_the_context_and_what_was_bound(
    taskiq_broker: InMemoryBroker, first: bool
) -> None:
    taskiq_broker.middlewares.insert(0 if first else 1, retry := SimpleRetryMiddleware())
    retry.set_broker(taskiq_broker)
    seen: Seen = []

    @taskiq_broker.task(retry_on_error=True, max_retries=2)
    async def work() -> None:
        seen.append(current())
        bind(failed=True)
        raise LookupError

    await send_and_wait({"user": "ada"}, work)
    await taskiq_broker.wait_all()
    assert seen == [{"user": "ada"}, {"user": "ada", "failed": True}]


async def test_a_message_that_is_requeued_keeps_its_context(taskiq_broker: InMemoryBroker) -> None:
    seen: Seen = []

    @taskiq_broker.task
    async def work(context: Annotated[TaskiqContext, TaskiqDepends()]) -> None:
        seen.append(current())
        if len(seen) == 1:
            await context.requeue()

    await send_and_wait({"user": "ada"}, work)
    await taskiq_broker.wait_all()
    assert seen == [{"user": "ada"}] * 2


class Schedules(ScheduleSource):
    """Keeps what is scheduled."""

    def __init__(self) -> None:
        self.scheduled: list[ScheduledTask] = []

    async def get_schedules(self) -> list[ScheduledTask]:
        return self.scheduled

    async def add_schedule(self, schedule: ScheduledTask) -> None:
        self.scheduled.append(schedule)


async def test_a_retry_that_is_scheduled_keeps_the_context_of_its_message(
    taskiq_broker: InMemoryBroker,
) -> None:
    source = Schedules()
    taskiq_broker.add_middlewares(SmartRetryMiddleware(schedule_source=source))
    scheduler = TaskiqScheduler(taskiq_broker, [source])
    seen: Seen = []

    @taskiq_broker.task(retry_on_error=True, max_retries=2)
    async def work() -> None:
        seen.append(current())
        raise LookupError

    await send_and_wait({"user": "ada"}, work)
    with Context().scope():
        for schedule in await source.get_schedules():
            await scheduler.on_ready(source, schedule)
    await taskiq_broker.wait_all()
    assert seen == [{"user": "ada"}] * 2


async def test_a_task_that_is_scheduled_by_its_code_has_no_context(
    taskiq_broker: InMemoryBroker,
) -> None:
    source = Schedules()
    seen: Seen = []

    @taskiq_broker.task
    async def work() -> None:
        seen.append(current())

    await work.schedule_by_time(source, datetime.now(UTC))
    with Context().scope():
        await TaskiqScheduler(taskiq_broker, [source]).on_ready(source, source.scheduled[0])
    await taskiq_broker.wait_all()
    assert seen == [{}]


async def test_a_task_that_is_scheduled_with_a_context_keeps_it(
    taskiq_broker: InMemoryBroker,
) -> None:
    source = Schedules()
    seen: Seen = []

    @taskiq_broker.task
    async def work() -> None:
        seen.append(current())

    with Context(user="ada").scope():
        labelled = work.kicker().with_labels(**Propagator().inject())
        await labelled.schedule_by_time(source, datetime.now(UTC))
    with Context().scope():
        await TaskiqScheduler(taskiq_broker, [source]).on_ready(source, source.scheduled[0])
    await taskiq_broker.wait_all()
    assert seen == [{"user": "ada"}]


async def test_a_label_that_cannot_be_read_keeps_no_message_from_its_task(
    taskiq_broker: InMemoryBroker,
) -> None:
    rejections = mqctx.configure(on_rejected=lambda _: None).rejections
    seen: Seen = []

    @taskiq_broker.task
    async def work() -> None:
        seen.append(current())

    for header in ("nonsense", 42, ["ada"]):
        await deliver_labels(taskiq_broker, work, mqctx=header)
    assert seen == [{}] * 3
    assert rejections == {"malformed": 1, "wrong-type": 2}


async def test_the_labels_given_stay_as_they_are_and_a_stale_context_does_not_travel(
    taskiq_broker: InMemoryBroker,
) -> None:
    taskiq_broker.add_middlewares(recorder := Recorder())
    stale = '{"user":"ada"}'

    @taskiq_broker.task(own="1", mqctx=stale)
    async def work() -> None:
        pass

    for context in ({"user": "eve"}, {}):
        await send_and_wait(context, work)
    assert work.labels == {"own": "1", "mqctx": stale}
    assert recorder.labels == [{"own": "1", "mqctx": '{"user":"eve"}'}, {"own": "1"}]


async def test_what_was_scheduled_once_is_sent_with_what_is_active_now(
    taskiq_broker: InMemoryBroker,
) -> None:
    taskiq_broker.add_middlewares(recorder := Recorder())

    @taskiq_broker.task(schedule_id="s", mqctx='{"user":"ada"}')
    async def work() -> None:
        pass

    await send_and_wait({"user": "eve"}, work)
    assert recorder.labels == [{"schedule_id": "s", "mqctx": '{"user":"eve"}'}]


async def test_the_context_is_one_more_text_in_what_the_broker_sends() -> None:
    kicked: list[BrokerMessage] = []

    class Broker(AsyncBroker):
        async def kick(self, message: BrokerMessage) -> None:
            kicked.append(message)

        async def listen(self) -> AsyncGenerator[bytes, None]:
            yield b""

    broker = Broker()
    broker.add_middlewares(ContextMiddleware())

    @broker.task(own=1)
    async def work() -> None:
        pass

    with Context(user="ada").scope():
        await work.kiq()
    (message,) = kicked
    assert message.labels == {"own": "1", "mqctx": '{"user":"ada"}'}
    assert json.loads(message.message)["labels"] == message.labels


async def test_more_than_the_limit_is_refused_before_anything_is_sent(
    taskiq_broker: InMemoryBroker,
) -> None:
    taskiq_broker.add_middlewares(recorder := Recorder())

    @taskiq_broker.task
    async def work() -> None:
        raise AssertionError

    with scope(text="x" * 5000), pytest.raises(mqctx.OversizeError, match="'text'"):
        await work.kiq()
    assert recorder.labels == []


async def test_a_propagator_of_its_own_injects_and_extracts() -> None:
    narrow = Propagator(send=["user"], accept=["user"])
    mqctx.configure(send=[], accept=[])
    broker = InMemoryBroker(await_inplace=True)
    broker.add_middlewares(ContextMiddleware(propagator=narrow), recorder := Recorder())
    seen: Seen = []

    @broker.task
    async def work() -> None:
        seen.append(current())

    await send_and_wait({"user": "ada", "tenant": "acme"}, work)
    await deliver_labels(broker, work, mqctx='{"user":"eve","tenant":"acme"}')
    assert recorder.labels == [{"mqctx": '{"user":"ada"}'}]
    assert seen == [{"user": "ada"}, {"user": "eve"}]
    assert narrow.rejections == {"not-accepted": 1}


async def test_the_default_propagator_is_asked_at_the_time_of_the_message(
    taskiq_broker: InMemoryBroker,
) -> None:
    taskiq_broker.add_middlewares(recorder := Recorder())

    @taskiq_broker.task
    async def work() -> None:
        pass

    mqctx.configure(send=["user"])
    await send_and_wait({"user": "ada", "tenant": "acme"}, work)
    assert recorder.labels == [{"mqctx": '{"user":"ada"}'}]


class Failing(TaskiqMiddleware):
    """Fails in one of its hooks."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        self.hook = hook

    def fail(self, hook: str, *result: Any) -> Any:
        if hook == self.hook:
            raise LookupError(current().get("user"))
        return result[0]

    def pre_execute(self, message: TaskiqMessage) -> Any:
        return self.fail("pre_execute", message)

    def post_execute(self, message: TaskiqMessage, result: Any) -> Any:
        return self.fail("post_execute", None)


@pytest.mark.parametrize("hook", ["pre_execute", "post_execute"])
async def test_another_middleware_that_fails_leaves_what_was_active(hook: str) -> None:
    broker = InMemoryBroker(await_inplace=True)
    broker.add_middlewares(ContextMiddleware(), Failing(hook))

    @broker.task
    async def work() -> None:
        pass

    with pytest.raises(SendTaskError) as error:
        await send_and_wait({"user": "ada"}, work)
    assert isinstance(error.value.__cause__, LookupError)
    assert error.value.__cause__.args == ("ada",)


async def test_two_of_them_leave_in_the_order_in_which_they_came() -> None:
    """As where one reads an old layout, and the other the new one."""
    old = ContextMiddleware(propagator=Propagator(formats=[mqctx.JsonFormat("old")]))
    seen: Seen = []

    class Witness(TaskiqMiddleware):
        def post_save(self, message: TaskiqMessage, result: Any) -> None:
            seen.append(current())

    broker = InMemoryBroker(await_inplace=True)
    broker.add_middlewares(Witness(), ContextMiddleware(), Witness(), old, Witness())

    @broker.task
    async def work() -> None:
        seen.append(current())

    await deliver_labels(broker, work, old='{"user":"old"}', mqctx='{"user":"new"}')
    assert seen == [{"user": "old"}, {"user": "old"}, {"user": "new"}, {"user": "ambient"}]


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("first", [True, False])
async def test_a_task_has_what_middlewares_before_and_after_set_for_it(
    taskiq_broker: InMemoryBroker, kind: str, first: bool
) -> None:
    class Setting(TaskiqMiddleware):
        async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
            other.set("set for the task")
            return message

    taskiq_broker.middlewares.insert(0 if first else 1, Setting())
    seen: list[tuple[Mapping[str, object], str]] = []

    def note() -> None:
        seen.append((current(), other.get()))

    async def note_async() -> None:
        note()

    await send_and_wait(
        {"user": "ada"}, taskiq_broker.register_task(note if kind == "sync" else note_async, "w")
    )
    assert seen == [({"user": "ada"}, "set for the task")]


@pytest.mark.parametrize("first", [True, False])
async def test_a_retry_is_not_lost_to_a_context_that_grew_too_large(
    taskiq_broker: InMemoryBroker, first: bool
) -> None:
    rejections = mqctx.configure(on_rejected=lambda _: None).rejections
    taskiq_broker.middlewares.insert(0 if first else 1, retry := SimpleRetryMiddleware())
    retry.set_broker(taskiq_broker)
    seen: Seen = []

    @taskiq_broker.task(retry_on_error=True, max_retries=2)
    async def work() -> None:
        seen.append(current())
        bind(text="x" * 5000, step="pay")
        raise LookupError

    await send_and_wait({"user": "ada"}, work)
    await taskiq_broker.wait_all()
    assert seen == [{"user": "ada"}, {"user": "ada", "step": "pay"}]
    assert rejections == {"too-large": 1}


async def test_the_next_step_of_a_pipeline_has_the_context_as_far_as_it_fits(
    taskiq_broker: InMemoryBroker,
) -> None:
    """As taskiq-pipelines sends it, once the result is saved."""
    mqctx.configure(on_rejected=lambda _: None)
    seen: Seen = []

    @taskiq_broker.task
    async def work() -> None:
        bind(text="x" * 5000, step="pay")

    @taskiq_broker.task
    async def follow() -> None:
        seen.append(current())

    class Pipeline(TaskiqMiddleware):
        async def post_save(self, message: TaskiqMessage, result: Any) -> None:
            if message.task_name == work.task_name:
                await follow.kiq()

    taskiq_broker.add_middlewares(Pipeline())
    await send_and_wait({"user": "ada"}, work)
    await taskiq_broker.wait_all()
    assert seen == [{"user": "ada", "step": "pay"}]


async def test_a_task_may_send_what_does_not_fit_only_to_be_told(
    taskiq_broker: InMemoryBroker,
) -> None:
    @taskiq_broker.task
    async def work() -> None:
        with scope(text="x" * 5000), pytest.raises(mqctx.OversizeError, match="'text'"):
            await work.kiq()

    await send_and_wait({}, work)
    (result,) = taskiq_broker.result_backend.results.values()
    assert result.error is None


async def test_the_kick_of_an_in_memory_broker_stays_an_async_def(
    taskiq_broker: InMemoryBroker,
) -> None:
    assert inspect.iscoroutinefunction(taskiq_broker.kick)
