"""Celery's own workers, in each kind of pool, with RabbitMQ between and results in Redis."""

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import celery
import pytest
from celery import chain, chord, group

from mqctx import Context, current
from mqctx.adapters import celery as celery_adapter
from tests.drivers.on_pika import pika_channel
from tests.integration.redis_server import running

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
"""How long anything here waits before it is a failure."""


@dataclass(frozen=True)
class Worker:
    """A worker that is at work, and the application that sends to it, in this process."""

    client: celery.Celery
    reports: str
    command: list[str]
    environ: dict[str, str]
    log: Path

    def task(self, name: str, *args: Any, **options: Any) -> Any:
        """Return the signature of one of the worker's tasks."""
        return self.client.signature(name, args, **options)

    def reported(self, key: str) -> dict[str, Any]:
        """Wait for what a task reports under that key."""
        queue = self.client.conf.task_default_queue
        got: Any = self.client.backend.client.blpop([f"{queue}.{key}"], SECONDS)
        assert got is not None, self.output()
        seen: dict[str, Any] = json.loads(got[1])
        return seen

    def runs(self, task_id: str, count: int) -> list[dict[str, Any]]:
        """Wait for so many reports of a task's runs, and return them in the order of time."""
        found: list[dict[str, Any]] = []
        until = time.monotonic() + SECONDS
        with pika_channel(self.client.conf.broker_url) as channel:
            while len(found) < count:
                assert time.monotonic() < until, self.output()
                method, _, body = channel.basic_get(self.reports, auto_ack=True)
                if method is None:
                    time.sleep(0.02)
                elif (record := json.loads(body or b"{}"))["correlation_id"] == task_id:
                    found.append(record)
        return sorted(found, key=lambda record: str(record["began_at"]))

    def output(self) -> str:
        """Return the last lines of the worker's log."""
        return "\n".join(self.log.read_text().splitlines()[-30:])


def pool(name: str, *options: str, kombu: bool = False, full: bool = False) -> Any:
    """Make a parameter of the fixture `worker`; with `kombu`, that is instrumented too."""
    marks = [pytest.mark.full] if full else []
    return pytest.param((name, options, kombu), id=name, marks=marks)


PREFORK = pool("prefork", "--concurrency=2")


@pytest.fixture(
    scope="module",
    params=[
        PREFORK,
        pool("threads", "--concurrency=8", kombu=True),
        pool("solo", kombu=True, full=True),
        pool("gevent", "--concurrency=8", full=True),
    ],
)
def worker(
    request: pytest.FixtureRequest,
    amqp_url: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Worker]:
    """Start a worker, and an application that sends to it."""
    name, options, kombu = request.param
    queue = f"mqctx-test-{uuid4().hex}"
    reports = f"{queue}-reports"
    with pika_channel(amqp_url) as channel:
        channel.exchange_declare(reports, "topic", durable=True)
        channel.queue_declare(reports)
        channel.queue_bind(reports, reports, queue)
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
        "MQCTX_TEST_CELERY_BROKER": amqp_url,
        "MQCTX_TEST_CELERY_RESULTS": redis_url,
        "MQCTX_TEST_CELERY_QUEUE": queue,
        "MQCTX_TEST_CELERY_REPORTS": reports,
        **({"MQCTX_TEST_CELERY_KOMBU": "1"} if kombu else {}),
    }
    client = celery.Celery(broker=amqp_url, backend=redis_url, set_as_current=False)
    client.conf.task_default_queue = queue
    command = [sys.executable, "-m", "celery", "-A", "tests.integration.celery_app"]
    log = tmp_path_factory.mktemp(name) / "output.log"
    quiet = ["--loglevel=INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    working = [*command, "worker", f"--pool={name}", *options, *quiet]
    celery_adapter.instrument(client)
    try:
        with running(working, log, environ) as process:
            made = Worker(client, reports, command, environ, log)
            wait_until_it_works(made, process)
            yield made
    finally:
        # A result that nobody waited for tells Redis so when it is collected; not after its end.
        gc.collect()
        celery_adapter.uninstrument(client)
        client.close()
        with pika_channel(amqp_url) as channel:
            channel.queue_delete(queue)
            channel.queue_delete(reports)
            channel.exchange_delete(reports)


def wait_until_it_works(worker: Worker, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the worker does what it is sent."""
    started = worker.task("see").delay()
    until = time.monotonic() + SECONDS
    while not started.ready():
        assert process.poll() is None, worker.output()
        assert time.monotonic() < until, worker.output()
        time.sleep(0.1)


@pytest.fixture(autouse=True)
def _in_adas_context() -> Iterator[None]:
    """Run each test in a context that no message brought, and that must survive."""
    with Context(user="ada", city="Zo\u00eb's").scope():
        yield
        assert current() == ADA


ADA = Context(user="ada", city="Zo\u00eb's")


def awaited_result(started: Any) -> Any:
    """Wait for what a task returns."""
    return started.get(timeout=SECONDS)


in_prefork = pytest.mark.parametrize("worker", [PREFORK], indirect=True)

Send = Callable[[Worker], Any]
SENT: dict[str, tuple[Send, list[Any]]] = {
    "delay": (lambda worker: worker.task("see").delay(), [{}]),
    "send_task": (lambda worker: worker.client.send_task("see"), [{}]),
    "a chain": (
        lambda worker: chain(
            worker.task("see", (), "pick"), worker.task("see"), app=worker.client
        ).delay(),
        [{}, {"step": "pick"}],
    ),
    "a group": (
        lambda worker: group([worker.task("see")] * 3, app=worker.client).delay(),
        [[{}]] * 3,
    ),
    "a chord": (
        lambda worker: chord([worker.task("see")] * 3, worker.task("see"), app=worker.client)(),
        [{}] * 4,
    ),
    "a task that is replaced": (
        lambda worker: worker.task("replaced").delay(),
        [{"step": "replaced"}],
    ),
    "a task in the task": (
        lambda worker: worker.task("inline").delay(),
        [{}, {"looked": True}, {"looked": True}],
    ),
}


def with_ada(seen: Any) -> Any:
    """Return what is seen, where ADA was sent along."""
    return [with_ada(each) for each in seen] if isinstance(seen, list) else {**ADA, **seen}


@pytest.mark.parametrize("way", SENT)
def test_a_task_sees_the_context_that_it_was_sent_with(worker: Worker, way: str) -> None:
    send, expected = SENT[way]
    assert awaited_result(send(worker)) == with_ada(expected)


@pytest.mark.parametrize("way", SENT)
def test_a_task_without_context_sees_none_after_one_with(worker: Worker, way: str) -> None:
    send, expected = SENT[way]
    assert awaited_result(worker.task("see").delay()) == [ADA]
    with Context().scope():
        assert awaited_result(send(worker)) == expected


def test_a_task_that_is_sent_by_a_task_carries_its_context(worker: Worker) -> None:
    nested = worker.client.AsyncResult(awaited_result(worker.task("nest").delay()))
    assert awaited_result(nested) == [{**ADA, "step": "nest"}]


def test_tasks_at_the_same_time_mix_nothing(worker: Worker) -> None:
    started: dict[int, Any] = {}
    for number in range(40):
        with Context({} if number % 5 == 0 else {"number": number}).scope():
            started[number] = worker.task("look_again", 0.05).delay()
    for number, each in started.items():
        own: dict[str, Any] = {} if number % 5 == 0 else {"number": number}
        assert awaited_result(each) == [own, {**own, "looked": True}]


def test_a_retry_keeps_the_context_and_the_callers_headers_and_does_not_grow(
    worker: Worker,
) -> None:
    given = {"kind": "order"}
    seen = awaited_result(worker.task("retry").apply_async(headers=given))
    headers = [each.pop("headers") for each in seen]
    assert seen == [ADA, *({**ADA, "attempt": attempt} for attempt in range(3))]
    assert [each["kind"] for each in headers] == ["order"] * 4
    assert len({frozenset(each) for each in headers}) == 1
    assert len({len(each["mqctx"]) for each in headers[1:]}) == 1
    assert given == {"kind": "order"}


def test_an_errback_carries_the_context_of_the_task_that_failed(worker: Worker) -> None:
    failed = worker.task("fail").apply_async(link_error=worker.task("errback"))
    assert worker.reported(failed.id) == {**ADA, "step": "fail"}
    (run,) = worker.runs(failed.id, 1)
    assert (run["outcome"], run["error"]) == ("raised", "LookupError")


def test_each_attempt_at_a_task_is_reported_with_the_message_that_it_came_by(
    worker: Worker,
) -> None:
    started = worker.task("retry").delay()
    awaited_result(started)
    runs = worker.runs(started.id, 4)
    assert [run["error"] for run in runs] == ["celery.exceptions.Retry"] * 3 + [None]
    assert [run["outcome"] for run in runs] == ["raised"] * 3 + ["returned"]
    queue = worker.client.conf.task_default_queue
    for run in runs:
        assert (run["routing_key"], run["handler"], run["service"]) == (queue, "retry", queue)
        assert (run["redelivered"], run["context"]["user"]) == (False, "ada")
        assert run["duration"] > 0


@in_prefork
class TestInTheMainProcess:
    """The worker's own work for a task whose process is gone."""

    def test_an_errback_of_a_task_that_took_too_long_has_its_context(self, worker: Worker) -> None:
        errback = worker.task("errback")
        failed = worker.task("sleep").apply_async(time_limit=1, link_error=errback)
        assert worker.reported(failed.id) == ADA
        (run,) = worker.runs(failed.id, 1)
        assert run["error"] == "billiard.exceptions.TimeLimitExceeded"
        assert 0.9 < run["duration"] < SECONDS

    def test_an_errback_of_a_task_whose_process_died_has_its_context(self, worker: Worker) -> None:
        failed = worker.task("die").apply_async(link_error=worker.task("errback"))
        assert worker.reported(failed.id) == ADA
        (run,) = worker.runs(failed.id, 1)
        assert (run["outcome"], run["error"]) == ("raised", "billiard.exceptions.WorkerLostError")

    @pytest.mark.skipif(
        not hasattr(celery.Task, "retry_on_worker_lost"), reason="newer than this Celery"
    )
    def test_the_retry_of_a_task_whose_process_died_has_its_context(self, worker: Worker) -> None:
        assert awaited_result(worker.task("die_once").delay()) == [ADA]


@in_prefork
def test_what_beat_sends_carries_none(worker: Worker, tmp_path: Path) -> None:
    assert awaited_result(worker.task("see").delay()) == [ADA]
    beating = [*worker.command, "beat", f"--schedule={tmp_path / 'schedule'}"]
    with running(beating, tmp_path / "beat.log", worker.environ):
        assert worker.reported("ticked") == {}


def test_messages_of_protocol_1_carry_the_context_too(worker: Worker) -> None:
    with celery.Celery(
        broker=worker.client.conf.broker_url, backend=worker.client.conf.result_backend
    ) as client:
        client.conf.update(
            task_protocol=1, task_default_queue=worker.client.conf.task_default_queue
        )
        celery_adapter.instrument(client)
        seen = awaited_result(client.send_task("see"))
        celery_adapter.uninstrument(client)
    assert seen == [ADA]


def test_what_is_no_context_never_keeps_a_task_from_running(worker: Worker) -> None:
    celery_adapter.uninstrument(worker.client)
    try:
        for header in ("nonsense", ["a"], {"a": 1}, 5, None):
            started = worker.task("see").apply_async(headers={"mqctx": header})
            assert awaited_result(started) == [{}]
    finally:
        celery_adapter.instrument(worker.client)
