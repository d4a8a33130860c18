"""The runs that frameworks report, without a broker: what is told, of which message, and once."""

import asyncio
import multiprocessing.util
import os
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import billiard
import celery
import pytest
from celery import signals
from celery.app.trace import ExceptionInfo, trace_task
from celery.exceptions import Ignore, WorkerLostError

import mqctx
import mqctx.adapters.faststream
from mqctx import Context, current
from mqctx.adapters import _celery_reports, _reporter, _reports
from mqctx.adapters import celery as celery_adapter
from mqctx.adapters._aio_pika_blocks import Block
from mqctx.adapters._faststream_name import name_of_handler
from mqctx.adapters._reporter import Ended, Origin, Reporter
from mqctx.adapters._reports import begin, block_scope
from mqctx.adapters._taskiq_reports import origin_of
from mqctx.inspection._dramatiq import read_body

NOBODY = "amqp://guest:guest@nowhere.invalid:1//"
ADA = {"mqctx": '{"user":"ada"}'}


class Told(list[Ended]):
    """Stands for the reporter."""

    flushed = 0

    def add(self, ended: Ended) -> None:
        self.append(ended)

    def flush(self) -> None:
        self.flushed += 1

    def errors(self) -> list[str | None]:
        return [ended.error for ended in self]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    told = Told()
    monkeypatch.setattr(_reports, "reporter", told)
    mqctx.configure(report="mqctx.journeys")
    yield told
    mqctx.configure()


def origin() -> Origin:
    unused: Any = None
    return Origin(client=unused, outlet=unused, routing_key="orders")


def request_of(task: str, **more: Any) -> dict[str, Any]:
    """Return the fields of a request as Celery's worker makes them."""
    return {
        "lang": "py",
        "id": f"id of {task}",
        "task": task,
        "correlation_id": f"id of {task}",
        "properties": {},
        "delivery_info": {"exchange": "", "routing_key": "celery", "redelivered": False},
        **ADA,
        **more,
    }


@pytest.fixture
def app() -> Iterator[Any]:
    with celery.Celery(broker=NOBODY, set_as_current=True) as made:
        celery_adapter.instrument(made)
        yield made
        celery_adapter.uninstrument(made)


def einfo(error: Exception) -> Any:
    """Return an exception as a pool hands it to the worker."""
    try:
        raise error
    except type(error):
        return ExceptionInfo()


def wrapped(work: Any) -> Any:
    """Return a function that Celery takes: a lambda is none."""

    def call() -> None:
        work()

    return call


class TestCelery:
    def run(self, app: Any, work: Any) -> dict[str, Any]:
        task = app.task(name="work", shared=False)(wrapped(work))
        request = request_of("work")
        trace_task(task, request["id"], (), {}, request=request, app=app)
        return request

    def test_a_task_is_told_with_its_message(self, app: Any, told: Told) -> None:
        self.run(app, lambda: None)
        (ended,) = told
        assert (ended.handler, ended.outcome, ended.error) == ("work", "returned", None)
        assert (ended.origin.correlation_id, ended.origin.routing_key) == ("id of work", "celery")
        assert ended.context == {"user": "ada"}

    def test_what_a_task_raises_is_told_though_celery_keeps_it(self, app: Any, told: Told) -> None:
        def ignore() -> None:
            raise Ignore

        self.run(app, ignore)
        assert told.errors() == ["celery.exceptions.Ignore"]

    @pytest.mark.parametrize(
        ("process", "error"), [("MainProcess", "SystemExit"), ("Pool-1", None)]
    )
    def test_the_end_of_a_pools_process_is_left_to_the_main_one(
        self, app: Any, told: Told, process: str, error: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = SimpleNamespace(name=process)
        monkeypatch.setattr(billiard, "current_process", lambda: here)
        with pytest.raises(SystemExit):
            self.run(app, sys.exit)
        assert told.errors() == [error] * bool(error)

    @pytest.mark.parametrize("pid", [None, os.getpid(), 1], ids=["unknown", "own", "other"])
    def test_a_task_whose_process_is_gone_is_told_by_the_main_one(
        self, app: Any, told: Told, pid: int | None
    ) -> None:
        lost = SimpleNamespace(
            app=app, worker_pid=pid, time_start=time.time() - 5, request_dict=request_of("work")
        )
        _celery_reports.report_lost(lost, ())
        _celery_reports.report_lost(lost, (einfo(LookupError()),))
        info = einfo(WorkerLostError("gone"))
        _celery_reports.report_lost(lost, (info,))
        lost.request_dict = {}
        _celery_reports.report_lost(lost, (info,))
        assert told.errors() == ["billiard.exceptions.WorkerLostError"] * (pid == 1)
        assert all(5 <= (ended.duration or 0) < 60 for ended in told)

    def test_each_request_of_a_batch_is_told_and_a_task_only_once(
        self, app: Any, told: Told
    ) -> None:
        def work() -> None:
            with celery_adapter.restored(SimpleNamespace(**request)):
                assert current() == {"user": "ada"}

        request = request_of("work")
        trace_task(
            app.task(name="work", shared=False)(work),
            request["id"],
            (),
            {},
            request=request,
            app=app,
        )
        work()
        assert [ended.handler.rpartition(".")[2] for ended in told] == ["work", "work"]
        assert told[1].handler.startswith(__name__)

    def test_nothing_is_told_where_celery_does_not_speak_amqp(self, told: Told) -> None:
        with celery.Celery(broker="memory://", set_as_current=False) as other:
            celery_adapter.instrument(other)
            self.run(other, lambda: None)
            celery_adapter.uninstrument(other)
        assert told == []

    def test_a_pools_process_sends_what_waits_before_it_ends(self, app: Any, told: Told) -> None:
        self.run(app, lambda: None)
        signals.worker_process_shutdown.send(sender=None, pid=1, exitcode=0)
        assert told.flushed == 1


class TestFrameworks:
    """A framework's own block, below a callback of the client's that is hooked."""

    def test_name_what_the_callback_calls_and_how_it_failed(self, told: Told) -> None:
        headers = dict(ADA)
        with block_scope(Context(), headers, origin):
            with pytest.raises(LookupError), block_scope(Context(), headers, origin, "on_order"):
                raise LookupError
            with block_scope(Context(), headers, origin, "on_order"):
                pass
        (ended,) = told
        assert (ended.handler, ended.error) == ("on_order", "LookupError")

    def test_blocks_of_other_messages_are_told_apart(self, told: Told) -> None:
        with block_scope(Context(), {}, origin, "outer"), block_scope(Context(), {}, origin, "in"):
            pass
        assert [ended.handler for ended in told] == ["in", "outer"]

    def test_taskiqs_broker_says_where_its_messages_go(self) -> None:
        broker: Any = SimpleNamespace(
            read_conn=SimpleNamespace(transport=SimpleNamespace(connection="connection")),
            _task_queues=[SimpleNamespace(name="a", routing_key=None)],
            _exchange=SimpleNamespace(name="taskiq"),
            _delayed_message_exchange=SimpleNamespace(name="taskiq.delayed"),
            _delayed_message_exchange_plugin=True,
            _label_for_routing="queue_name",
        )

        def route(**labels: Any) -> tuple[Any, Any]:
            message: Any = SimpleNamespace(labels=labels)
            found = origin_of(None, (message, broker))
            return found.exchange, found.routing_key

        assert route() == ("taskiq", "a")
        assert route(delay=3) == ("taskiq.delayed", "a")
        broker._task_queues *= 2
        assert route(queue_name="b") == ("taskiq", "b")

    def test_a_subscriber_without_calls_has_the_name_of_its_class(self) -> None:
        assert name_of_handler(SimpleNamespace(calls=[])) == "types.SimpleNamespace"


class TestBlocks:
    """The bodies of loops."""

    def test_another_task_that_ends_one_does_not_change_its_own_run(self, told: Told) -> None:
        async def main() -> None:
            task: Any = asyncio.current_task()
            block = Block(task)
            block.arrive(Context(), ADA)
            await asyncio.create_task(note(block))
            block.report(None)
            block.end()
            block.report(begin(origin, None, Context(), "late"))

        async def note(block: Block) -> None:
            block.report(begin(origin, None, Context(), "loop"))

        asyncio.run(main())
        assert [ended.handler for ended in told] == ["loop"]


class TestEndOfAProcess:
    def test_waits_for_nothing_where_nothing_was_reported(self) -> None:
        Reporter().flush(60)

    def test_a_child_of_multiprocessing_sends_what_waits(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ends: list[Any] = []

        def finalize(_: None, function: Any, exitpriority: int) -> None:
            ends.append(function)

        monkeypatch.setattr(multiprocessing.util, "Finalize", finalize)
        for is_loaded in (True, False):
            if not is_loaded:
                monkeypatch.delitem(sys.modules, "multiprocessing.util")
            _reporter._flush_at_the_end_of_a_child(print)
        assert ends == [print]


@pytest.mark.parametrize("body", [b"42", b'{"queue_name":', b'{"queue_name":1,"options":2}'])
def test_a_body_that_only_looks_like_one_of_dramatiqs_tells_nothing(body: bytes) -> None:
    assert read_body(body) is None


def test_a_block_of_faststream_is_told_with_its_message(told: Told) -> None:
    raw = SimpleNamespace(
        channel=SimpleNamespace(connection="c"), message_id="m", correlation_id=None,
        exchange="", routing_key="orders", redelivered=False, consumer_tag=None,
    )  # fmt: skip
    message: Any = SimpleNamespace(headers=ADA, raw_message=raw)
    with mqctx.adapters.faststream.restored(message):
        pass
    (ended,) = told
    assert (ended.origin.client, ended.origin.message_id, ended.origin.routing_key) == (
        "c", "m", "orders",
    )  # fmt: skip
    assert ended.context == {"user": "ada"}
