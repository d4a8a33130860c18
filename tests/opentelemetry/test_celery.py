"""OpenTelemetry's instrumentation of Celery beside ours, on a real RabbitMQ."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import celery
import pytest
from celery.contrib.testing.worker import TestWorkController, start_worker
from celery.worker import state
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.trace import TracerProvider

from mqctx.adapters import celery as adapter
from tests.drivers.handling import SECONDS
from tests.drivers.on_pika import pika_channel
from tests.opentelemetry.messages import CONTEXTS, SeenMessage, SpanPublisher, check_seen


class LoopingWorker(TestWorkController):
    """A worker that looks up every two seconds; with an event loop it may never see its end."""

    def should_use_eventloop(self) -> bool:
        return False


class Tasks:
    """An app whose only task tells what it sees."""

    def __init__(self, url: str) -> None:
        name = f"mqctx-test-{uuid4().hex}"
        self.app = celery.Celery(broker=url, set_as_current=False)
        self.app.conf.update(
            task_default_queue=name,
            worker_enable_remote_control=False,
            broker_connection_retry_on_startup=True,
        )
        self.seen: list[SeenMessage] = []
        self.came = threading.Semaphore(0)
        # Workers of earlier tests may have left some in this process.
        self._left = len(state.reserved_requests)

        @self.app.task(bind=True, name=name)
        def look(task: Any) -> None:
            self.seen.append(SeenMessage(dict(task.request.headers or {})))
            self.came.release()

        self.look: Any = look

    def worked_off(self, count: int) -> list[SeenMessage]:
        """Wait until that many tasks are over, what follows them included."""
        for _ in range(count):
            assert self.came.acquire(timeout=SECONDS)
        until = time.monotonic() + SECONDS
        while len(state.reserved_requests) > self._left and time.monotonic() < until:
            time.sleep(0.01)
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture(scope="module")
def tasks(amqp_url: str) -> Iterator[Tasks]:
    """Tasks that a worker in a thread of this process works off."""
    tasks = Tasks(amqp_url)
    start: Any = start_worker
    with start(tasks.app, perform_ping_check=False, WorkController=LoopingWorker):
        yield tasks
    with pika_channel(amqp_url) as channel:
        channel.queue_delete(tasks.look.name)
        channel.exchange_delete(tasks.look.name)


@pytest.fixture(
    params=["theirs alone", "ours first", "theirs first", "ours first, both propagating"]
)
def order_of_hooks(
    request: pytest.FixtureRequest, either: TracerProvider, tasks: Tasks
) -> Iterator[str]:
    """Instrument in an order, and undo it."""
    way: str = request.param
    if way in ("theirs alone", "ours first, both propagating"):
        request.getfixturevalue("activated")
    instrumentor = CeleryInstrumentor()
    if way.startswith("ours first"):
        adapter.instrument(tasks.app)
    instrumentor.instrument(tracer_provider=either)
    if way == "theirs first":
        adapter.instrument(tasks.app)
    yield way
    adapter.uninstrument(tasks.app)
    instrumentor.uninstrument()


@pytest.mark.usefixtures("order_of_hooks")
def test_a_task_has_both_contexts_and_no_header_is_lost(
    tasks: Tasks, either: TracerProvider, formats: str
) -> None:
    publisher = SpanPublisher(either)
    for headers in publisher:
        tasks.look.apply_async(headers=headers)
    seen = tasks.worked_off(len(CONTEXTS))
    for context, span, each in zip(CONTEXTS, publisher.spans, seen, strict=True):
        check_seen(context, span, each, formats)
    assert publisher.headers == [{"kind": "order"}] * len(CONTEXTS)
