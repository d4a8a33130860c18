"""Rows of own work: a task that is sent and run, in memory; there is no broker.

Each is sent with other values than the one before, and run where no values are.
"""

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
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.dramatiq import DramatiqIntegration
from taskiq import InMemoryBroker
from taskiq.middlewares.opentelemetry_middleware import OpenTelemetryMiddleware

from benchmarks import ways
from benchmarks.task import Task, sending
from mqctx.adapters import celery as celery_adapter
from mqctx.adapters.dramatiq import ContextMiddleware as DramatiqMiddleware
from mqctx.adapters.taskiq import ContextMiddleware as TaskiqMiddleware


def with_celery(way: str) -> Callable[[], object]:
    """Send a task with Celery and run it as a worker of the solo pool does."""
    if way in ways.OURS:
        celery_adapter.instrument()
    elif way == ways.OTEL:
        CeleryInstrumentor().instrument()
    elif way == ways.SENTRY:
        ways.start_sentry(CeleryIntegration())
    app: Any = Celery("bench", broker="memory://", set_as_current=True)
    task, contexts, pool = Task(way), ways.contexts(way), TaskPool()

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
    task, contexts = Task(way), ways.contexts(way)

    @dramatiq.actor(broker=broker)
    def bill(order: int) -> None:
        task.note()

    consumer: Any = broker.consume("default")
    work: PriorityQueue[Any] = PriorityQueue()
    consumers: Any = {"default": _Acking(consumer)}
    worker: Any = _WorkerThread(
        broker=broker, consumers=consumers, work_queue=work, worker_timeout=1
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
    task = Task(way)

    async def bill(order: int) -> None:
        task.note()

    return sending(way, task, partial(broker.task(bill).kiq, 42))
