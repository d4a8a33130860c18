"""Runs of handlers are reported in the background: no handler waits for it, or fails of it."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import celery
import pytest

import mqctx
from mqctx._core.runs import note_failed
from mqctx.adapters import _reporter
from mqctx.adapters import celery as celery_adapter
from mqctx.adapters._handler import HandlerDecorator
from mqctx.adapters._reporter import Origin, Reporter
from mqctx.errors import ConfigurationError
from mqctx.formats import TraceContextFormat
from mqctx.testing import celery_request
from tests.adapters.clients import CLIENTS


class Message:
    def __init__(self, headers: dict[str, Any] | None = None) -> None:
        self.headers = headers


class Broker:
    """Stands for a client's outlet, and the broker behind it."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.sent: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.is_away = False
        self.gate = threading.Event()
        self.gate.set()

    def key(self, client: Any) -> str:
        return str(client)

    def open(self, client: Any, exchange: str) -> "Broker":
        self.gate.wait(10)
        if self.is_away:
            raise OSError("no route to host")
        self.opened += 1
        return self

    def send(self, routing_key: str, body: bytes) -> None:
        if self.is_away:
            raise OSError("connection lost")
        self.keys.append(routing_key)
        self.sent.append(json.loads(body))

    def close(self) -> None:
        self.closed += 1
        raise OSError("it was closed before")


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def reporter(monkeypatch: pytest.MonkeyPatch) -> Reporter:
    made = Reporter()
    monkeypatch.setattr("mqctx.adapters._reports.reporter", made)
    return made


@pytest.fixture
def decorate(broker: Broker) -> Iterator[Callable[..., Any]]:
    def origin_of(_message: Any, _arguments: tuple[Any, ...]) -> Origin:
        return Origin(
            client="one",
            outlet=broker,
            message_id="m-1",
            exchange="",
            routing_key="orders",
            redelivered=False,
            consumer_tag="ctag-1",
            connection="10.0.0.1:4711",
        )

    mqctx.configure(
        formats=[mqctx.JsonFormat(), TraceContextFormat()],
        service="billing",
        report="mqctx.journeys",
    )
    yield HandlerDecorator(
        "message",
        carrier="message",
        kind=Message,
        awaited_by_client=True,
        settler=lambda *_: lambda *_: None,
        origin_of=origin_of,
    )
    mqctx.configure()


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_run_is_reported_with_what_it_published(
    decorate: Callable[..., Any], broker: Broker, reporter: Reporter
) -> None:
    spans: list[str] = []

    @decorate
    def on_order(_message: Message) -> str:
        spans.extend(mqctx.inject()["traceparent"].split("-")[2] for _ in range(2))
        return "done"

    assert on_order(Message({"mqctx": '{"request_id":"r-1"}'})) == "done"
    until(lambda: len(broker.sent) == 1)
    (record,) = broker.sent
    assert record.pop("duration") >= 0
    assert record.pop("began_at").endswith("Z")
    assert record == {
        "context": {"request_id": "r-1"},
        "message_id": "m-1",
        "correlation_id": None,
        "exchange": "",
        "routing_key": "orders",
        "redelivered": False,
        "consumer_tag": "ctag-1",
        "connection": "10.0.0.1:4711",
        "service": "billing",
        "handler": f"{__name__}.{on_order.__qualname__}",
        "outcome": "returned",
        "error": None,
        "published": spans,
    }
    assert broker.keys == ["billing"]
    assert reporter.dropped == 0


def test_a_failure_is_reported_by_its_class_and_raised(
    decorate: Callable[..., Any], broker: Broker, reporter: Reporter
) -> None:
    @decorate
    def fail(_message: Message) -> None:
        raise ValueError("a secret")

    with pytest.raises(ValueError, match="a secret"):
        fail(Message())
    until(lambda: len(broker.sent) == 1)
    assert (broker.sent[0]["outcome"], broker.sent[0]["error"]) == ("raised", "ValueError")
    assert "a secret" not in str(broker.sent)


@pytest.mark.parametrize(
    ("last", "told"),
    [(KeyError("order"), ("raised", "KeyError")), (None, ("returned", None))],
)
def test_a_failure_that_settled_its_message_and_went_no_further_is_reported_the_last_one(
    decorate: Callable[..., Any],
    broker: Broker,
    reporter: Reporter,
    last: Exception | None,
    told: tuple[str, str | None],
) -> None:
    @decorate
    def handle(_message: Message) -> None:
        note_failed(ValueError("an earlier attempt"))
        note_failed(last)

    handle(Message())
    until(lambda: len(broker.sent) == 1)
    assert (broker.sent[0]["outcome"], broker.sent[0]["error"]) == told


def test_async_handlers_are_reported_when_they_end(
    decorate: Callable[..., Any], broker: Broker, reporter: Reporter
) -> None:
    @decorate
    async def handle(message: Message) -> str:
        await asyncio.sleep(0)
        if message.headers:
            raise KeyError
        return "done"

    @decorate
    async def wait(_message: Message) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        assert await handle(Message()) == "done"
        with pytest.raises(KeyError):
            await handle(Message({"a": 1}))
        task = asyncio.create_task(wait(Message()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    until(lambda: len(broker.sent) == 3)
    assert [each["outcome"] for each in broker.sent] == ["returned", "raised", "cancelled"]


def test_at_most_a_hundred_spans_are_named(
    decorate: Callable[..., Any], broker: Broker, reporter: Reporter
) -> None:
    @decorate
    def publish(_message: Message) -> None:
        for _ in range(150):
            mqctx.inject()

    publish(Message())
    until(lambda: len(broker.sent) == 1)
    assert len(broker.sent[0]["published"]) == 100


def test_without_trace_context_no_span_is_named(
    decorate: Callable[..., Any], broker: Broker, reporter: Reporter
) -> None:
    mqctx.configure(report="mqctx.journeys")
    decorate(lambda message: mqctx.inject())(Message())
    until(lambda: len(broker.sent) == 1)
    assert broker.sent[0]["published"] == []


def test_a_broker_that_is_away_costs_reports_alone_and_they_are_counted(
    decorate: Callable[..., Any], broker: Broker, reporter: Reporter
) -> None:
    now = [0.0]
    reporter._clock = lambda: now[0]
    handle = decorate(lambda message: "done")
    broker.is_away = True
    assert handle(Message()) == "done"
    until(lambda: reporter.dropped == 1)
    broker.is_away = False
    assert handle(Message()) == "done"  # too early for another try
    until(lambda: reporter.dropped == 2)
    now[0] = 1.5
    assert handle(Message()) == "done"
    until(lambda: len(broker.sent) == 1)
    broker.is_away = True  # the connection that was open is closed
    handle(Message())
    until(lambda: reporter.dropped == 3)
    assert (broker.opened, broker.closed) == (1, 1)


def test_a_slow_broker_delays_no_handler_and_memory_is_bounded(
    decorate: Callable[..., Any],
    broker: Broker,
    reporter: Reporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_reporter, "_MOST_WAITING", 10)
    broker.gate.clear()
    handle = decorate(lambda message: None)
    for _ in range(100):
        handle(Message())
    assert reporter.dropped >= 89  # one is under way
    broker.gate.set()
    until(lambda: len(broker.sent) + reporter.dropped == 100)


def test_a_message_of_unknown_origin_is_handled_without_a_report(reporter: Reporter) -> None:
    def fail(*_: Any) -> Origin:
        raise TypeError("no message of ours")

    mqctx.configure(report="mqctx.journeys")
    decorate = HandlerDecorator(
        *("message",),
        carrier="message",
        kind=Message,
        awaited_by_client=False,
        settler=lambda *_: lambda *_: None,
        origin_of=fail,
    )
    assert decorate(lambda message: "done")(Message()) == "done"
    mqctx.configure()
    assert reporter._thread is None


@pytest.mark.parametrize("client", CLIENTS)
def test_off_by_default_and_for_what_no_broker_delivered(client: str, reporter: Reporter) -> None:
    handled: list[int] = []
    handler = CLIENTS[client].adapter.consume_with_context(lambda *_: handled.append(1))
    for report in (None, "mqctx.journeys"):
        mqctx.configure(report=report)
        handler(*CLIENTS[client].delivery(None))
    mqctx.configure()
    assert handled == [1, 1]
    assert reporter._thread is None


def test_a_task_that_no_broker_delivered_is_not_reported(reporter: Reporter) -> None:
    ran: list[str] = []
    app: Any = celery.Celery("shop", broker="amqp://", set_as_current=False)

    @app.task(shared=False)
    def charge() -> None:
        ran.append("charge")

    celery_adapter.instrument(app)
    try:
        mqctx.configure(report="mqctx.journeys")
        celery_request(charge).execute()
    finally:
        celery_adapter.uninstrument(app)
    assert ran == ["charge"]
    assert reporter._thread is None


def test_a_forked_child_starts_a_thread_of_its_own(
    decorate: Callable[..., Any], broker: Broker, reporter: Reporter
) -> None:
    handle = decorate(lambda message: None)
    handle(Message())
    until(lambda: len(broker.sent) == 1)
    before = reporter._thread
    reporter.forked()
    handle(Message())
    until(lambda: len(broker.sent) == 2)
    assert reporter._thread is not before
    assert broker.opened == 2


def test_what_waits_at_exit_is_sent(
    decorate: Callable[..., Any], broker: Broker, reporter: Reporter
) -> None:
    handle = decorate(lambda message: None)
    for _ in range(10):
        handle(Message())
    reporter.flush(10)
    until(lambda: len(broker.sent) == 10)


@pytest.mark.parametrize("name", ["", "amq.topic", "x" * 300, 7])
def test_a_name_that_no_exchange_can_have_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="report"):
        mqctx.configure(report=name)
