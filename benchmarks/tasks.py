"""Rows of own work: a task that is sent and run, in memory; there is no broker.

Each is sent with other values than the one before, and run where no values are.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from queue import PriorityQueue
from typing import Any

import dramatiq
from celery import Celery
from celery.concurrency.solo import TaskPool
from celery.worker.request import Request
from dramatiq.brokers.stub import StubBroker
from dramatiq.worker import _WorkerThread
from faststream.rabbit import RabbitBroker, TestRabbitBroker
from faststream.rabbit.opentelemetry import RabbitTelemetryMiddleware
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.dramatiq import DramatiqIntegration
from taskiq import InMemoryBroker
from taskiq.middlewares.opentelemetry_middleware import OpenTelemetryMiddleware

from benchmarks import ways
from mqctx.adapters import celery as celery_adapter
from mqctx.adapters.dramatiq import ContextMiddleware as DramatiqMiddleware
from mqctx.adapters.faststream import ContextMiddleware as FastStreamMiddleware
from mqctx.adapters.taskiq import ContextMiddleware as TaskiqMiddleware


class _Task:
    """A task that notes, at first, which values it sees."""

    def __init__(self, way: str) -> None:
        self._way = way
        self._seen: list[dict[str, Any]] = []
        self._notes = True

    def note(self) -> None:
        if self._notes:
            self._seen.append(self.read())

    def check(self) -> None:
        """See that the task has run, with the values of the first context, and note no more."""
        expected = next(ways.contexts(self._way)).run(self.read)
        assert self._way == ways.RAW or self._seen == [expected], f"{self._way}: {self._seen}"
        self._notes = False

    def read(self) -> dict[str, Any]:
        return ways.read(self._way)


def with_celery(way: str) -> Callable[[], object]:
    """Send a task with Celery and run it as a worker of the solo pool does."""
    if way in ways.OURS:
        celery_adapter.instrument()
    elif way == ways.OTEL:
        CeleryInstrumentor().instrument()
    elif way == ways.SENTRY:
        ways.start_sentry(CeleryIntegration())
    app: Any = Celery("bench", broker="memory://", set_as_current=True)
    task, contexts, pool = _Task(way), ways.contexts(way), TaskPool()

    @app.task(name="bill", ignore_result=True)
    def bill(order: int) -> None:
        task.note()

    app.finalize()
    channel = app.connection_for_read().default_channel

    def call() -> None:
        next(contexts).run(bill.delay, 42)
        Request(channel.basic_get("celery", no_ack=True), app=app).execute_using_pool(pool)

    call()
    task.check()
    return call


def with_dramatiq(way: str) -> Callable[[], object]:
    """Send a message with dramatiq and let a worker's thread process it, though in this one."""
    if way == ways.SENTRY:
        ways.start_sentry(DramatiqIntegration())
    broker = StubBroker()
    if way in ways.OURS:
        broker.add_middleware(DramatiqMiddleware())
    task, contexts = _Task(way), ways.contexts(way)

    @dramatiq.actor(broker=broker)
    def bill(order: int) -> None:
        task.note()

    consumer: Any = broker.consume("default")
    work: PriorityQueue[Any] = PriorityQueue()
    worker: Any = _WorkerThread(
        broker=broker, consumers={"default": _Acking(consumer)}, work_queue=work, worker_timeout=1
    )

    def call() -> None:
        next(contexts).run(bill.send, 42)
        work.put(next(consumer))
        worker.process_message(work.get())

    call()
    task.check()
    return call


class _Acking:
    def __init__(self, consumer: Any) -> None:
        self.post_process_message = consumer.ack


def with_taskiq(way: str) -> Callable[[], object]:
    """Send a task with taskiq to its broker in memory, which executes it in place."""
    broker = InMemoryBroker(await_inplace=True)
    if way in ways.OURS:
        broker.add_middlewares(TaskiqMiddleware())
    elif way == ways.OTEL:
        broker.add_middlewares(OpenTelemetryMiddleware())
    task = _Task(way)

    async def bill(order: int) -> None:
        task.note()

    return _sending(way, task, partial(broker.task(bill).kiq, 42))


def with_faststream(way: str) -> Callable[[], object]:
    """Publish a message with FastStream and let its test broker call the subscriber."""
    known: dict[str, Any] = {
        **dict.fromkeys(ways.OURS, FastStreamMiddleware),
        ways.OTEL: RabbitTelemetryMiddleware(),
    }
    broker = RabbitBroker(middlewares=[known[way]] if way in known else [])
    task = _Task(way)

    async def bill(order: int) -> None:
        task.note()

    broker.subscriber("orders")(bill)
    tested = TestRabbitBroker(broker)

    async def publish() -> None:
        if not broker.running:
            await tested.__aenter__()
        await broker.publish(42, "orders")

    return _sending(way, task, publish)


def _sending(way: str, task: _Task, send: Callable[[], Any]) -> Callable[[], object]:
    contexts = ways.contexts(way)
    is_checked = False

    async def call() -> None:
        nonlocal is_checked
        await asyncio.get_running_loop().create_task(send(), context=next(contexts))
        if not is_checked:
            task.check()
            is_checked = True

    return call
