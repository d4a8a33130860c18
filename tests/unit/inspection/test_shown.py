"""The commands show single messages, sums and tables, from messages made without a broker."""

import signal
import sys
from collections import deque
from contextlib import closing
from io import StringIO
from itertools import count as counter
from math import nan
from types import SimpleNamespace
from typing import Any

import click
import pytest
from rich.console import Console

import mqctx
import mqctx.inspection
from mqctx.cli._looking.exits import Interruption, exits
from mqctx.cli._looking.inspection import _Run
from mqctx.cli._looking.messages import message_block
from mqctx.cli._looking.options import Options
from mqctx.cli._looking.screen import Results, progress
from mqctx.cli._looking.summary import Summary
from mqctx.cli._looking.tables import groups_table
from mqctx.cli._looking.text import number
from mqctx.inspection import BrokerError, Grouping, Inspector, Look, Message, Where
from mqctx.inspection._contexts import plain_of
from mqctx.inspection._management import ManagementError
from mqctx.inspection._plain import plain
from mqctx.inspection._queue_channel import QueueChannel
from mqctx.inspection._reader import Reader
from mqctx.inspection._safety import QueueFacts

from .messages import message, of_tenant

FAILURE = (
    '{"type":"Timeout","message":"late","where":"bank.py:3 in pay","service":"billing",'
    '"attempt":2,"at":"2026-11-28T16:00:00Z","bound":{"card":"4242"}}'
)
DEATH = {"queue": "orders.in", "reason": "rejected", "count": 3, "exchange": "orders"}


def shown(message: Message, *, with_body: bool = False) -> list[str]:
    """Return the lines of a message as they are printed."""
    console = Console(file=StringIO(), width=100, color_system=None)
    with console.capture() as captured:
        console.print(message_block(message, with_body=with_body))
    return [line.strip() for line in captured.get().splitlines()]


def width() -> int:
    with closing(Results(plain=True)) as results:
        return results.width


class TestBlock:
    def test_of_a_failed_message_says_why(self) -> None:
        lines = shown(message({"mqctx-failure": FAILURE, "x-death": [DEATH]}))
        assert "failed   Timeout: late" in lines
        assert "bank.py:3 in pay" in lines
        assert "service billing  attempt 2  at 2026-11-28T16:00:00Z" in lines
        assert "bound    card=4242" in lines
        assert "died     rejected from orders.in, 3 times" in lines

    def test_of_a_failure_that_says_little_shows_that(self) -> None:
        assert "failed   -" in shown(message({"mqctx-failure": '{"queue":"orders.in"}'}))

    def test_of_a_celery_task_names_it(self) -> None:
        task = {"task": "pay", "id": "t-1", "lang": "py", "retries": 2}
        assert "task     pay  id t-1  retries 2" in shown(message(task))
        assert "task     pay  id t-1" in shown(message({"task": "pay", "id": "t-1", "lang": "py"}))

    def test_of_a_task_of_taskiq_names_it(self) -> None:
        task = {"task_name": "shop:bill", "task_id": "t-2", "_retries": "1"}
        assert "task     shop:bill  id t-2  retries 1" in shown(message(task))
        assert not any("task" in line for line in shown(message({"task_name": "shop:bill"})))

    def test_of_refused_values_says_so(self) -> None:
        (line,) = [line for line in shown(message({"mqctx": "no JSON"})) if "refused" in line]
        assert "malformed" in line

    def test_of_what_died_once_counts_nothing(self) -> None:
        lines = shown(message({"x-death": [{**DEATH, "count": 1}]}))
        assert "died     rejected from orders.in" in lines


class TestCeleryTask:
    def test_of_protocol_1_stands_in_the_body(self) -> None:
        body = b'{"task":"pay","id":"t-1","args":[],"kwargs":{},"retries":1}'
        assert message(body=body).celery == {"task": "pay", "id": "t-1", "retries": 1}

    @pytest.mark.parametrize(
        "body", [b'{"task":"pay"', b'{"task":"pay","id":"t-1"}', b'{"task":1,"id":"x"}', b"[]"]
    )
    def test_is_none_of_a_body_that_only_looks_like_it(self, body: bytes) -> None:
        assert message(body=body).celery is None

    def test_is_none_of_json_that_is_no_object(self) -> None:
        assert message(body=b'{"a":["task"]}').celery is None


class TestDeaths:
    @pytest.mark.parametrize("entry", ["x", {"queue": 1, "reason": "rejected"}, {"queue": "q"}])
    def test_leave_out_what_is_none(self, entry: Any) -> None:
        assert message({"x-death": [entry, DEATH]}).came_from == "orders.in"
        assert len(message({"x-death": [entry, DEATH]}).deaths) == 1

    def test_of_a_stream_are_known_by_the_last_one(self) -> None:
        headers = {"x-last-death-queue": "orders.in", "x-last-death-reason": "expired"}
        (death,) = message(headers).deaths
        assert (death.queue, death.reason, death.count) == ("orders.in", "expired", 1)


class TestMessage:
    def test_came_from_where_it_failed_last(self) -> None:
        headers = {
            "mqctx-failure": '{"type":"T","queue":"later","at":"2026-11-28T16:00:00Z"}',
            "x-death": [DEATH],
        }
        assert message(headers).came_from == "later"

    def test_was_published_when_the_most_exact_source_says(self) -> None:
        assert message(timestamp=1_764_345_600_000).published_at == "2025-11-28T16:00:00Z"
        exact = message({"timestamp_in_ms": 1_764_345_600_250}, timestamp=1_764_345_600)
        assert exact.published_at == "2025-11-28T16:00:00.250Z"

    def test_shows_headers_that_json_cannot_say_as_text(self) -> None:
        assert plain({"raw": b"\xff", "nan": nan, "half": 0.5}) == {
            "raw": "\\xff",
            "nan": "nan",
            "half": 0.5,
        }

    def test_of_a_value_that_is_no_json_shows_its_text(self) -> None:
        mqctx.Variable("thing", complex, local=True)
        assert plain_of(mqctx.Context(thing=1j)) == {"thing": "1j"}

    @pytest.mark.parametrize(
        "condition", ["queue.more=1", "headers.some.more=1", "deaths.reason=none"]
    )
    def test_fits_no_condition_on_what_is_not_there(self, condition: str) -> None:
        assert not Where.parse(condition).matches(message({"some": "header", "x-death": [DEATH]}))

    def test_of_a_time_that_is_none_has_none(self) -> None:
        assert message({"mqctx-failure": '{"type":"T","at":"soon"}'}).at is None


class TestSummary:
    def test_counts_all_queues_and_names_the_days(self) -> None:
        summary = Summary()
        for queue in ("a", "b"):
            facts = QueueFacts(name=queue, arguments={"x-single-active-consumer": queue == "b"})
            look: Any = SimpleNamespace(
                queue=queue, facts=facts, there=5, looked=3, missed=1, held_by_others=2,
                is_late=False, rescue=SimpleNamespace(copied=3, reasons=lambda: ["kept"]),
            )  # fmt: skip
            summary.add(look)
        for day in (2, 1, 2):
            died = {"type": "T", "at": f"2026-11-0{day}T16:00:00Z"}
            summary.choose(message({"mqctx-failure": str(died).replace("'", '"')}))
        assert summary.line() == (
            "10 messages in 2 queues, looked at 6, 3 of them chosen, "
            "6 copied to the end, and taken off their place  11-01 16:00:00 .. 11-02 16:00:00 UTC"
        )
        assert summary.notes == [
            *("a: 2 more are held by other consumers", "a: 1 went to other consumers meanwhile"),
            *("a: kept", "b: 2 more are held by other consumers"),
            "b: 1 could not be read: another consumer is the single active one",
            "b: kept",
        ]

    def test_says_that_time_was_up(self) -> None:
        summary = Summary()
        look: Any = SimpleNamespace(
            queue="a", there=5, looked=3, held_by_others=0, is_late=True, missed=2, rescue=None
        )
        summary.add(look)
        assert summary.notes == [
            "a: stopped before RabbitMQ would take the look for a consumer that is stuck"
        ]


def printed(width: int, grouping: Grouping) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(groups_table(width, grouping.names, list(grouping)))
    return captured.get()


class TestTable:
    def test_sums_up_the_rarest_ways(self) -> None:
        grouping = Grouping(["tenant"])
        for number_, reason in enumerate("abcdefgh"):
            for _ in range(9 - number_):
                failure = f'{{"type":"{reason}","message":"m"}}'
                grouping.add(of_tenant("acme", **{"mqctx-failure": failure}))
        text = printed(120, grouping)
        assert "more" in text
        assert "a: m" in text

    def test_puts_reasons_below_rather_than_fold_the_values_of_two_names(self) -> None:
        grouping = Grouping(["tenant", "failure.type"])
        failure = '{"type":"billing.CardExpired","message":"the card of this order has expired"}'
        grouping.add(of_tenant("initech", **{"mqctx-failure": failure}))
        text = printed(120, grouping)
        assert "initech  billing.CardExpired" in text
        assert "billing.CardExpired: the card of this order has expired" in text

    def test_says_about_where_a_number_is_estimated(self) -> None:
        assert (number(1200), number(1200, is_exact=False)) == ("1,200", "~1,200")


class TestExits:
    def test_where_nobody_watches_ctrl_c_ends_with_130(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        context = click.Context(click.Command("inspect"))
        with context, pytest.raises(click.exceptions.Exit) as ended, exits():
            raise KeyboardInterrupt
        assert ended.value.exit_code == 130
        assert capsys.readouterr().err == "interrupted; all that was held is in place\n"

    def test_the_second_ctrl_c_interrupts_at_once(self) -> None:
        stopped: list[bool] = []
        with Interruption().watched() as interruption:
            interruption.stop = lambda: stopped.append(True)
            signal.raise_signal(signal.SIGINT)
            assert (stopped, interruption.happened) == ([True], True)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


class TestScreen:
    def test_columns_decides_how_wide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "100")
        assert width() == 100
        monkeypatch.setenv("COLUMNS", "many")
        assert width() > 40
        monkeypatch.delenv("COLUMNS")
        assert width() > 40

    def test_a_bar_moves_on_a_terminal_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress("orders.dead", 2, plain=True) as advance:
            advance()
        assert "orders.dead" in terminal.getvalue()


def test_the_front_has_its_names_and_no_other() -> None:
    assert set(dir(mqctx.inspection)) == set(mqctx.inspection.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mqctx.inspection.nothing


class TestRun:
    def made(self, inspector: object) -> _Run:
        inspector_: Any = inspector
        return _Run(inspector_, Options(), [], Interruption(), rescue=False)

    def test_looks_at_nothing_more_once_it_is_interrupted(self) -> None:
        run = self.made(None)
        run._interruption.happened = True
        run.look_at("orders.dead")
        context = click.Context(click.Command("inspect"))
        with (
            context,
            closing(Results(plain=True)) as results,
            pytest.raises(click.exceptions.Exit) as ended,
        ):
            run.finish(results)
        assert ended.value.exit_code == 130

    def test_ends_where_the_connection_is_lost(self) -> None:
        def look(*_: object, **__: object) -> None:
            raise BrokerError("lost")

        with pytest.raises(BrokerError):
            self.made(SimpleNamespace(look=look, is_lost=True)).look_at("orders.dead")


class TestInspector:
    def test_tells_how_many_consumers_there_were(self) -> None:
        look: Any = SimpleNamespace(_reader=SimpleNamespace(consumers=2))
        consumers: Any = Look.consumers
        assert consumers.fget(look) == 2

    def test_knows_why_the_management_api_did_not_tell(self) -> None:
        def facts(*_: object) -> None:
            raise ManagementError("it is ill", 500)

        inspector: Any = SimpleNamespace(
            _problem=None,
            management=SimpleNamespace(facts=facts),
            version=(4, 0),
            broker=SimpleNamespace(vhost="/"),
        )
        assert Inspector.facts(inspector, "q").unknown_because == "it is ill"

    def test_waits_for_facts_that_are_late(self) -> None:
        told = [
            QueueFacts(name="q", vhost="/", version=(4, 0), type=kind, are_late=True)
            for kind in ("quorum", "classic")
        ]
        waited: list[float] = []
        inspector: Any = SimpleNamespace(
            facts=lambda _: told.pop(0),
            connection=SimpleNamespace(process_data_events=waited.append),
        )
        assert Inspector._safe_facts(inspector, "q").type == "classic"
        assert waited == [0.5]


class TestReader:
    def test_waits_on_where_messages_are_there_and_have_not_come(self) -> None:
        arrived: deque[int] = deque()
        comes: deque[list[int]] = deque([[], [1]])
        reader: Any = SimpleNamespace(
            _arrived=arrived,
            _consumer="c",
            _is_over=lambda: False,
            _is_empty=lambda _: False,
            _lacks=lambda count: Reader._lacks(reader, count),
            channel=SimpleNamespace(wait=lambda: arrived.extend(comes.popleft())),
        )
        assert Reader._have_come(reader, 1)

    def test_goes_on_for_what_comes_while_it_asks_whether_all_was_taken(self) -> None:
        arrived: list[int] = []

        def ready() -> tuple[int, int]:
            arrived.append(1)
            return 0, 0

        reader: Any = SimpleNamespace(_arrived=arrived, channel=SimpleNamespace(ready=ready))
        assert not Reader._is_empty(reader, since=0.0)

    @pytest.mark.parametrize(
        ("size", "expected"), [(0, 16), (1_000_000, 16), (10_000_000, 8), (1_000_000_000, 1)]
    )
    def test_takes_fewer_at_once_of_large_messages_that_are_settled_meanwhile(
        self, size: int, expected: int
    ) -> None:
        reader: Any = SimpleNamespace(_is_settling=True, _bytes=size)
        assert Reader._next(reader, 10) == expected

    def test_waits_until_all_that_it_gave_back_is_there_again(self) -> None:
        counts = deque([0, 2, 2, 3])
        waited: list[float] = []
        channel: Any = SimpleNamespace(ready=lambda: (counts.popleft(), 0), wait=waited.append)
        QueueChannel._wait_for(channel, 3)
        assert (list(counts), len(waited)) == ([], 3)

    @pytest.mark.parametrize(("consumers", "seconds"), [(1, 1), (0, 5)])
    def test_does_not_wait_long_for_what_others_have_taken(
        self, monkeypatch: pytest.MonkeyPatch, consumers: int, seconds: float
    ) -> None:
        clock = counter(step=0.25)
        monkeypatch.setattr("time.monotonic", lambda: next(clock))
        waited: list[float] = []
        channel: Any = SimpleNamespace(ready=lambda: (2, consumers), wait=waited.append)
        QueueChannel._wait_for(channel, 3)
        assert len(waited) * 0.25 == pytest.approx(seconds, abs=0.75)

    def test_closes_a_channel_once(self) -> None:
        channel: Any = SimpleNamespace(_channel=SimpleNamespace(is_open=False))
        QueueChannel.close(channel)
