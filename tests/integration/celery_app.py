"""The workers' application of test_celery.py: `celery -A tests.integration.celery_app worker`.

A task reports what it sees, and leaves traces that no other task may see. The environment names
the broker, the queue and the Redis.
"""

import contextvars
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

from celery import Celery

import mqctx
from mqctx import bind, current
from mqctx.adapters import celery as celery_adapter
from mqctx.adapters import kombu as kombu_adapter

Seen = list[dict[str, Any]]
"""The contexts that were active at some places, in order."""

QUEUE = os.environ["MQCTX_TEST_CELERY_QUEUE"]
TICKED = f"{QUEUE}.ticked"
"""The list in Redis that the tasks of beat report to."""

app: Any = Celery(broker=os.environ["MQCTX_TEST_CELERY_BROKER"])
app.conf.update(
    result_backend=os.environ["MQCTX_TEST_CELERY_RESULTS"],
    task_default_queue=QUEUE,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    beat_schedule={"tick": {"task": "tick", "schedule": 0.2}},
)
mqctx.configure(service=QUEUE, report=os.environ["MQCTX_TEST_CELERY_REPORTS"])
celery_adapter.instrument()
if "MQCTX_TEST_CELERY_KOMBU" in os.environ:
    kombu_adapter.instrument()

left_behind: contextvars.ContextVar[bool] = contextvars.ContextVar("left_behind", default=False)


def look() -> dict[str, Any]:
    """Return what is active, and what an earlier task left behind, if that can be seen."""
    return {**current(), **({"leaked": True} if left_behind.get() else {})}


def flat(seen: Any) -> Iterator[dict[str, Any]]:
    """Iterate over what the members of a group saw."""
    if isinstance(seen, dict):
        yield seen
    else:
        for each in seen:
            yield from flat(each)


def report(key: str) -> None:
    """Append what is active to a list in Redis."""
    app.backend.client.rpush(key, json.dumps(look()))


@app.task(name="see")
def see(seen: Any = (), step: str | None = None, seconds: float = 0) -> Seen:
    """Return what was seen before and what is active here, and leave traces."""
    seen = [*flat(seen), look()]
    left_behind.set(True)
    if step is not None:
        bind(step=step)
    time.sleep(seconds)
    return seen


@app.task(name="look_again")
def look_again(seconds: float) -> Seen:
    """Return what is active before and after others had their turn."""
    seen = [look()]
    bind(looked=True)
    time.sleep(seconds)
    return [*seen, look()]


@app.task(name="nest")
def nest() -> str:
    """Send a task; return its id."""
    bind(step="nest")
    return str(see.delay().id)


@app.task(name="inline")
def inline() -> Seen:
    """Run a task here and now; return what it saw, and what is active after it."""
    return [*look_again.apply((0,)).result, look()]


@app.task(name="replaced", bind=True)
def replaced(self: Any) -> None:
    """Let another task do it."""
    bind(step="replaced")
    self.replace(see.s())


@app.task(name="retry", bind=True, max_retries=3)
def retry(self: Any, seen: Any = ()) -> Seen:
    """Succeed at the fourth attempt; return what each saw, with the headers that it had."""
    seen = [*seen, {"headers": self.request.headers, **look()}]
    bind(attempt=self.request.retries)
    if self.request.retries < self.max_retries:
        raise self.retry(args=(seen,), countdown=0)
    return seen


@app.task(name="fail")
def fail() -> None:
    """Raise."""
    bind(step="fail")
    raise LookupError


@app.task(name="sleep")
def sleep() -> None:
    """Take longer than any time limit."""
    time.sleep(60)


@app.task(name="die")
def die() -> None:
    """Kill the process that runs it."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="die_once", bind=True, retry_on_worker_lost=True, default_retry_delay=0)
def die_once(self: Any) -> Seen:
    """Kill the process that runs it; the next time, return what is active."""
    if not self.request.retries:
        die()
    return [look()]


@app.task(name="errback")
def errback(task_id: str) -> None:
    """Report for the task that failed."""
    report(f"{QUEUE}.{task_id}")


@app.task(name="tick")
def tick() -> None:
    """Report."""
    report(TICKED)
