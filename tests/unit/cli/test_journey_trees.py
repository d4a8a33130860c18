"""Journeys as text: trees, and a line below them that says how the trace fares."""

from io import StringIO
from typing import Any

from click.testing import CliRunner
from rich.console import Console

from mqctx.cli import commands
from mqctx.cli._tracing.tree import tree
from mqctx.cli._tracing.view import Screen
from mqctx.inspection._journeys._tracer import Status

Json = dict[str, Any]


def record(kind: str, id: str, parent: str | None = None, **more: Any) -> Json:
    """Return an event as `mqctx trace --json` prints it."""
    return {
        "kind": kind,
        "journey": "r-1",
        "by": "request_id",
        "id": id,
        "parent": parent,
        "joined": None,
        "inferred": False,
        "at": "2026-01-31T06:43:48.120456Z",
        "context": {"request_id": "r-1", "tenant": "acme", "span_id": "00f067aa0ba902b7"},
        "exchange": "",
        "routing_keys": ["orders"],
        "user": "shop",
        "connection": "10.0.0.4:41836 -> 10.0.0.1:5672",
        "queues": ["orders"],
        "queue": "orders",
        "wait": 0.0021,
        "attempt": 1,
        **more,
    }


def text(*records: Json) -> str:
    return "\n".join(line.plain for line in tree(records))


def test_shows_each_event_below_the_one_that_led_to_it() -> None:
    shown = text(
        record("publish", "p1"),
        record("delivery", "d1", "p1"),
        record("publish", "p2", "d1", exchange="x", queues=["a", "b"]),
        record("delivery", "d2", "p1", attempt=2, wait=65.04, connection=None),
        record("dead_letter", "x1", "d2", reason="rejected", count=3),
        record("run", "r1", "d1", service="billing", handler="on_order", outcome="raised")
        | {"error": "ValueError", "duration": 0.25},
    )
    assert shown == (
        "r-1   request_id   tenant=acme\n"
        "└─ 06:43:48.120 published to queue orders   by shop 10.0.0.4:41836\n"
        "   ├─ 06:43:48.120 delivered from orders after 2 ms   to shop 10.0.0.4:41836\n"
        "   │  ├─ 06:43:48.120 published to x with orders -> a, b   by shop 10.0.0.4:41836\n"
        "   │  └─ 06:43:48.120 handled by billing on_order: raised ValueError in 250 ms\n"
        "   └─ 06:43:48.120 delivered from orders after 65.0 s (attempt 2)\n"
        "      └─ 06:43:48.120 dead-lettered from orders: rejected (3 times)"
    )


def test_marks_what_is_inferred_and_where_nothing_was_routed() -> None:
    one = record("publish", "p1", inferred=True, joined="client", queues=[], connection=None)
    other = record("publish", "p2", inferred=True, queues=None, connection=None)
    assert text(one, other).splitlines()[1:] == [
        "├─ 06:43:48.120 published to queue orders -> no queue   ~ inferred by client",
        "└─ 06:43:48.120 published to queue orders   ~ inferred by connection",
    ]


def test_leaves_out_what_there_is_none_of() -> None:
    shown = text(
        record("publish", "p1", exchange="x", queues=None, connection=None),
        record("dead_letter", "x1", "p1", reason="expired", count=1),
        record("dead_letter", "x2", "p1", queue=None, reason="KeyError: 'id'", count=1),
        record("run", "r1", "p1", service="s", handler="h", outcome="returned")
        | {"error": None, "duration": 2.0},
    )
    assert [line.partition("120 ")[2] for line in shown.splitlines()[1:]] == [
        "published to x with orders",
        "dead-lettered from orders: expired",
        "dead-lettered: KeyError: 'id'",
        "handled by s h: returned in 2.0 s",
    ]


def test_begins_anew_below_what_was_printed_before() -> None:
    shown = text(record("delivery", "d9", "p1", by=None, wait=None, context={}))
    assert shown.splitlines() == [
        "r-1   without context",
        "└─ 06:43:48.120 delivered from orders   to shop 10.0.0.4:41836",
    ]


def test_says_of_a_message_that_its_context_makes_no_journey() -> None:
    title, _ = text(record("publish", "p1", by=None, context={"tenant": "acme"})).splitlines()
    assert title == "r-1   of its own   tenant=acme"


def test_keeps_what_strangers_wrote_on_one_line_and_short() -> None:
    hostile = "\x1b[31m\n" + "x" * 500
    shown = text(record("publish", "p1", routing_keys=[hostile], context={"tenant": hostile}))
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 2
    assert max(map(len, shown.splitlines())) < 200


SUMMARY = {
    "kind": "summary",
    "seconds": 30.04,
    "events": 12,
    "journeys": 1,
    "publishes": 2,
    "deliveries": 0,
    "dead_letters": 0,
    "runs": 0,
    "inferred": 1,
    "dropped": 1234,
    "without_context": 0,
    "untraced_nodes": [],
}


def shown_by(console: Console, summary: Json, *statuses: Status) -> str:
    screen = Screen(console)
    for status in statuses:
        screen.status(status)
    screen.journey([record("publish", "p1")])
    screen.finish(summary)
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_on_a_terminal_says_how_it_fares() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=120, color_system=None)
    status = Status(seconds=12, events=3456, running=7, waiting=89, dropped=None)
    shown = shown_by(console, SUMMARY, status)
    assert "3,456 events   7 journeys under way   89 events behind   ? dropped" in shown
    assert "published to queue orders" in shown


def test_in_a_pipe_is_lines_alone() -> None:
    shown = shown_by(Console(file=StringIO(), width=40), SUMMARY, Status(dropped=3))
    assert shown.splitlines()[-1] == (
        "1 journey, 2 publishes in 30.0 s (1 inferred; 0 without context; 1,234 events dropped)"
    )
    assert len(shown.splitlines()) == 3


def test_says_what_it_could_not_see() -> None:
    nothing = {**SUMMARY, "journeys": 0, "publishes": 0, "dropped": None}
    shown = shown_by(Console(file=StringIO()), {**nothing, "untraced_nodes": ["rabbit@b"]})
    assert shown.splitlines()[-1] == (
        "no messages in 30.0 s (1 inferred; 0 without context; events were dropped; "
        "not traced: rabbit@b)"
    )


def test_a_tap_asks_no_management_api_and_says_that_the_broker_is_away() -> None:
    arguments = ["trace", "--tap", "orders", "--broker", "amqp://guest:guest@127.0.0.1:1/"]
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
