"""The demo in memory: what it shows, and that its check can fail."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import mqctx
from mqctx.adapters import kombu as adapter
from mqctx.cli import commands
from mqctx.cli._demo import memory, on_kombu, play
from mqctx.cli._demo.broker import Broker
from mqctx.cli._demo.check import judge
from mqctx.cli._demo.ending import show_journeys
from mqctx.cli._demo.journal import HandlerRun, Journal, Service
from mqctx.cli._demo.journeys import Watch
from mqctx.cli._demo.stage import Stage
from mqctx.cli._demo.story import LEGACY_ORDER, SENT_IN, WORKERS
from mqctx.inspection import ManagementError

ADA = ("r-1", "ada", "acme")
GRACE = ("r-2", "grace", "initech")
NOBODY = ("-", "-", "-")
SUMMARY = "10 handlers ran: 8 in their request's context, 2 rightly without, 0 mixed up."


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # where the page goes
    monkeypatch.delenv("MQCTX_BROKER_URL", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)


def demo(*arguments: str, color: bool = False) -> Result:
    return CliRunner().invoke(commands, ["demo", *arguments], color=color)


def rows(output: str) -> list[list[str]]:
    """Return the story's lines, each as service, client, what happens, and the context."""
    lines = (line.strip() for line in output.splitlines())
    return [re.split(r"\s{2,}", line)[1:] for line in lines if re.match(r"\d+  ", line)]


def full_journal() -> Journal:
    journal = Journal(expected_runs=len(WORKERS) * len(SENT_IN))
    for worker in WORKERS:
        for order, context in SENT_IN.items():
            journal.add(HandlerRun(worker, order, mqctx.Context(context)))
    return journal


def test_each_worker_handles_each_order_in_the_context_it_was_sent_in() -> None:
    result = demo()

    handled = {
        (service, what.split(" ", 1)[1]): tuple(context)
        for service, _, what, *context in rows(result.output)
        if service in WORKERS
    }
    assert handled == {
        (worker, order): tuple(context.values()) or NOBODY
        for worker in WORKERS
        for order, context in SENT_IN.items()
    }
    assert result.exit_code == 0


def test_the_two_requests_are_served_at_the_same_time() -> None:
    web = [tuple(row[3:]) for row in rows(demo().output) if row[0] == "web"]

    assert web.index(GRACE) < len(web) - 1 - web[::-1].index(ADA)
    assert web.index(ADA) < len(web) - 1 - web[::-1].index(GRACE)


def test_what_the_legacy_system_sent_has_no_context_at_any_hop() -> None:
    seen = [(row[0], tuple(row[3:])) for row in rows(demo().output) if LEGACY_ORDER in row[2]]

    assert seen == [("legacy", NOBODY), ("billing", NOBODY), ("shipping", NOBODY)]


def test_it_ends_with_the_journey_of_a_request_and_writes_the_page_of_all(tmp_path: Path) -> None:
    output = demo().output
    *_, tree, _ = re.split(r"\n(?=r-1 )|\n\n(?=3 journeys)", output)
    steps = [re.sub(r".*\d\d\.\d{3} | (after|in) \d+ ms", "", line) for line in tree.splitlines()]
    order = [
        "published to queue orders",
        "delivered from orders",
        "handled by billing on_order: returned",
        "published to queue shipping",
        "delivered from shipping",
        "handled by shipping on_order: returned",
    ]
    assert steps == ["r-1   request_id   user=ada   tenant=acme", *order, *order]
    assert "3 journeys, 10 publishes, 10 runs of handlers; inferred: 0.\n" in output
    page = (tmp_path / "mqctx-demo.html").read_text()
    assert all(f'"journey":"{name}"' in page for name in ("r-1", "r-2"))
    assert "mqctx-demo-" not in page


def test_a_page_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    result = demo("--html", str(tmp_path / "missing" / "page.html"))
    assert result.exit_code == 1
    assert "No such file or directory" in result.output.splitlines()[-1]


def test_the_header_says_where_it_runs_and_the_end_how_it_went() -> None:
    lines = demo().output.splitlines()

    assert "In memory, no broker needed" in lines[1]
    assert SUMMARY in lines


def test_piped_it_is_plain_fits_80_columns_and_gives_no_warnings() -> None:
    command = [sys.executable, "-W", "error", "-m", "mqctx", "demo"]
    piped = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (piped.returncode, piped.stderr) == (0, "")
    assert SUMMARY in piped.stdout
    assert "\x1b" not in piped.stdout
    assert max(map(len, piped.stdout.splitlines())) < 80


def test_a_reader_that_leaves_early_causes_no_traceback() -> None:
    command = [sys.executable, "-m", "mqctx", "demo"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_on_a_terminal_each_request_has_its_colour() -> None:
    lines = demo(color=True).output.splitlines()

    assert {line[:5] for line in lines if "r-1 " in line} == {"\x1b[36m"}
    assert {line[:5] for line in lines if "r-2 " in line} == {"\x1b[35m"}


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    assert "\x1b" not in demo(color=True).output


def test_a_full_journal_has_no_problems() -> None:
    verdict = judge(full_journal())

    assert (f"{verdict.summary}.", verdict.problems) == (SUMMARY, [])


def test_a_handler_in_another_requests_context_is_a_problem() -> None:
    journal = full_journal()
    journal.runs[0] = HandlerRun("billing", "order 1001, 3 books", journal.runs[2].context)

    verdict = judge(journal)

    assert "7 in their request's context" in verdict.summary
    assert "1 mixed up" in verdict.summary
    (problem,) = verdict.problems
    assert problem.startswith("billing handled order 1001, 3 books with r-2 grace initech; ")
    assert problem.endswith("it was sent with r-1 ada acme")


def test_an_order_that_was_not_handled_is_a_problem() -> None:
    journal = full_journal()
    journal.runs.pop()

    assert judge(journal).problems == [f"shipping did not get {LEGACY_ORDER} in time"]


def test_a_context_that_outlives_its_message_is_a_problem() -> None:
    journal = full_journal()
    journal.leftovers.append(("billing", mqctx.Context(request_id="r-1")))

    assert judge(journal).problems == ["billing still had r-1 after a message"]


def test_handlers_that_restore_nothing_make_the_demo_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_kombu, "consume_with_context", lambda handler: handler)

    result = demo()

    assert result.exit_code == 1
    assert "8 mixed up" in result.output
    assert (
        "wrong: shipping handled order 2002, 5 cups with no context; "
        "it was sent with r-2 grace initech" in result.output
    )


def test_handlers_that_do_not_clean_up_make_the_demo_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(handler: Callable[..., None]) -> Callable[..., None]:
        def handle(body: str, message: Any) -> None:
            scope = adapter.restored(message)
            scope.__enter__()
            handler(body, message)

        return handle

    monkeypatch.setattr(on_kombu, "consume_with_context", leaking)

    result = demo()

    assert result.exit_code == 1
    assert "wrong: billing still had r-1 ada acme after a message" in result.output


def test_a_lost_order_makes_the_demo_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def losing(producer: Any, order: str, **options: Any) -> None:
        if order != "order 1002, 1 lamp":
            adapter.publish(producer, order, **options)

    monkeypatch.setattr(on_kombu, "publish", losing)
    monkeypatch.setattr(play, "PATIENCE_SECONDS", 0.2)

    result = demo()

    assert result.exit_code == 1
    assert "wrong: billing did not get order 1002, 1 lamp in time" in result.output


def test_a_worker_that_fails_ends_the_story_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def handles(service: Service, verb: str, order: str) -> None:
        raise ZeroDivisionError(f"{service.name} {verb} {order}")

    monkeypatch.setattr(Service, "handles", handles)
    monkeypatch.setattr(play, "PATIENCE_SECONDS", 600)

    assert isinstance(demo().exception, ZeroDivisionError)


def test_an_interruption_stops_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(on_kombu, "serve", serve)
    before = threading.active_count()

    result = demo()

    assert (result.exit_code, threading.active_count()) == (130, before)
    assert "Traceback" not in result.output


def test_a_broker_that_does_not_answer_is_one_line_and_exit_code_2() -> None:
    with socket.socket() as closed_again:
        closed_again.bind(("127.0.0.1", 0))
        port = closed_again.getsockname()[1]

    result = demo("--broker", f"amqp://guest:s3cret@127.0.0.1:{port}")

    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert result.output.startswith(f"Error: RabbitMQ at 127.0.0.1:{port}: ")
    assert "s3cret" not in result.output


@pytest.mark.parametrize(
    "url",
    [
        "amqps://ada:s3cret@example.org",
        "ada:s3cret@example.org",
        "amqp://",
        "amqp://ada:s3cret@",
        "amqp://ada:s3cret@example.org:port",
        "amqp://ada:s3/cret@example.org",
        "amqp://ada:s3cret@[::1",
        "amqp://ada:s3cret@example.org?heartbeat=5",
    ],
)
def test_a_url_that_cannot_be_used_is_a_usage_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQCTX_BROKER_URL", url)

    result = demo()

    assert result.exit_code == 2
    assert "Invalid value for '--broker'" in result.output
    assert "s3" not in result.output


@pytest.mark.parametrize(
    ("given", "spelled_out"),
    [
        ("amqp://example.org", "amqp://guest:guest@example.org:5672/%2F"),
        ("amqp://example.org/", "amqp://guest:guest@example.org:5672/%2F"),
        ("amqp://example.org//", "amqp://guest:guest@example.org:5672/%2F"),
        ("amqp://example.org/%2f", "amqp://guest:guest@example.org:5672/%2F"),
        ("amqp://ada@example.org:1234/shop", "amqp://ada:guest@example.org:1234/shop"),
        ("amqp://ada:p%40ss@[::1]/a%2Fb", "amqp://ada:p%40ss@[::1]:5672/a%2Fb"),
    ],
)
def test_what_the_clients_would_guess_is_spelled_out(given: str, spelled_out: str) -> None:
    assert Broker.parse(given).url == spelled_out


def test_the_password_shows_neither_in_the_repr_nor_in_an_explanation() -> None:
    broker = Broker.parse("amqp://ada:s3cret@example.org")

    explanation = broker.explain(OSError("cannot reach\namqp://ada:s3cret@example.org."))

    assert "s3cret" not in repr(broker) + explanation
    assert "RabbitMQ at example.org:5672: cannot reach amqp://ada:***@example.org." in explanation


def test_a_user_who_may_not_trace_is_told_why_there_is_no_journey(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(Stage.at("amqp://nobody"))
    watch.error = ManagementError("not authorised", 401)

    show_journeys(watch, tmp_path / "page.html")

    assert capsys.readouterr().out == (
        "Left out, the journey of each request: RabbitMQ tells it to administrators alone\n"
    )


def test_what_is_no_event_is_no_part_of_a_journey() -> None:
    before = list(memory.events)
    memory._note("else", {}, b"")
    assert memory.events == before


def test_records_of_other_requests_in_the_vhost_are_none_of_a_stage() -> None:
    watch: Any = SimpleNamespace(_stage=SimpleNamespace(prefix="demo-1."))
    root: Any = {"id": "a", "parent": None, "queue": "demo-1.orders"}
    child: Any = {"id": "b", "parent": "a"}
    foreign: Any = {"id": "c", "parent": None, "queue": "orders"}
    assert Watch._own(watch, [root, child, foreign]) == [root, child]
