"""The parts of a redrive: the message sent back, its note, and the report."""

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from mqctx._amqp.content_header import ContentHeader
from mqctx.cli._looking.redrive_text import notes_of, outcome_of, plan_table, title_of
from mqctx.inspection._broker import Broker
from mqctx.inspection._redrive_note import Interrupted, Note
from mqctx.inspection._redrive_result import Result, name_of
from mqctx.inspection._sent_back import digest, now, redrive_of, sent_back, stripped, what_goes
from mqctx.inspection._ways import Way
from tests.drivers.field_tables import EVERY_TYPE, table
from tests.unit.inspection.messages import message

BROKER = Broker.parse("amqp://guest:secret@host:5673/shop")
THROUGH = Way("in", "orders", "order.new", "x-death", False, (), ("dead",), "dlx")
STRAIGHT = Way("in", "", "order.new", "x-death", True, (), ("dead",), "dlx")
DEATHS: dict[str, Any] = {
    "x-death": [{"queue": "in", "reason": "rejected"}],
    **{
        f"x-{w}-death-{k}": "in" for w in ("first", "last") for k in ("queue", "reason", "exchange")
    },
    "x-delivery-count": 3,
    "x-acquired-count": 4,
    "CC": ["other"],
}


class TestSentBack:
    def test_lacks_what_another_failure_would_trip_over_and_nothing_else(self) -> None:
        kept = {"tenant": "acme", "mqctx-failure": "{}"}
        plain: Any = {"message_id": "m", "user_id": "guest", "delivery_mode": 2}
        dead = message({**DEATHS, **kept}, expiration="60000", **plain)
        assert stripped(dead.header) == message(kept, **plain).header
        assert set(what_goes(dead.header)) == {*DEATHS, "expiration"}

    def test_every_type_stays_bit_for_bit(self) -> None:
        before = ContentHeader(b"\x20\x00" + table([*EVERY_TYPE, ("x-death", ("A", []))]))
        assert stripped(before).raw == b"\x20\x00" + table(EVERY_TYPE)

    def test_says_when_in_utc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "UTC-5")
        time.tzset()
        said = now()
        monkeypatch.undo()
        time.tzset()
        assert abs(datetime.fromisoformat(said) - datetime.now(UTC)) < timedelta(minutes=1)

    def test_says_by_which_run_and_how_often(self) -> None:
        once = sent_back(message(), THROUGH, "run1")
        noted = redrive_of(once)
        assert noted.pop("at").endswith("Z")
        assert noted == {"count": 1, "from": "orders.dead", "run": "run1"}
        for count in (1, 4):
            again = message({"mqctx-redrive": json.dumps({"count": count})})
            assert redrive_of(sent_back(again, THROUGH, "run2"))["count"] == count + 1
        assert "BCC" not in once.headers

    @pytest.mark.parametrize(
        "noted",
        ['{"count": ' + "[" * 100_000, "", "[]", '{"count": "x"}', '{"count": -1}', 7, None],
    )
    def test_counts_anew_after_a_note_that_is_not_sound(self, noted: Any) -> None:
        sent = sent_back(message({"mqctx-redrive": noted}), THROUGH, "run")
        assert redrive_of(sent)["count"] == 1

    def test_names_its_queue_for_the_broker_alone_if_it_goes_straight_with_its_old_key(
        self,
    ) -> None:
        assert sent_back(message(), STRAIGHT, "run").headers["BCC"] == ["in"]

    def test_is_told_from_others_whatever_the_broker_has_added(self) -> None:
        one = message({"n": 1}, body=b"a")
        assert digest(one) == digest(message({"n": 1, **DEATHS}, body=b"a", expiration="1"))
        assert len(digest(one)) == 16
        assert (
            len({digest(one), digest(message({"n": 2}, body=b"a")), digest(message({"n": 1}))}) == 3
        )


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "mqctx"


def note(run: str, queue: str = "dead") -> Note:
    return Note(BROKER, queue, run, "2026-11-28T03:00:00Z")


class TestNote:
    def test_that_was_cut_off_is_found_by_the_next_run_from_the_same_queue(
        self, state: Path
    ) -> None:
        killed = note("one")
        assert killed.open() is None
        killed.write(["a", "b", "c"])
        killed.write(["d"])
        left = Interrupted("one", "2026-11-28T03:00:00Z", ("d",))
        assert note("two").earlier() == [left]
        assert note("two", "elsewhere").earlier() == []

    def test_of_nothing_under_way_is_none(self, state: Path) -> None:
        killed = note("one")
        killed.open()
        killed.write(["a"])
        killed.write([])
        assert note("two").earlier() == []

    def test_goes_when_its_run_ends_with_those_that_it_told_of(self, state: Path) -> None:
        for run in ("one", "two"):
            cut_off = note(run)
            cut_off.open()
            cut_off.write(["a"])
        third = note("three")
        third.open()
        third.close()
        assert list(state.iterdir()) == []

    def test_has_nothing_of_messages_or_passwords_in_it(self, state: Path) -> None:
        kept = note("one")
        kept.open()
        kept.write([digest(message(body=b"private"))])
        (file,) = state.iterdir()
        assert "secret" not in file.read_text() + file.name
        assert "private" not in file.read_text()

    def test_that_cannot_be_kept_is_told_and_harms_nothing(self, state: Path) -> None:
        state.write_text("no folder")
        kept = note("one")
        assert "mqctx: " in str(kept.open())
        kept.write(["a"])
        kept.close()
        assert kept.earlier() == []

    def test_that_is_broken_is_left_out(self, state: Path) -> None:
        kept = note("one")
        kept.open()
        (file,) = state.iterdir()
        file.write_text("{")
        file.with_name(f"{file.name[:-5]}z.json").mkdir()  # cannot be read
        assert note("two").earlier() == []

    def test_is_in_the_home_folder_by_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        kept = note("one")
        kept.open()
        assert len(list((tmp_path / ".local/state/mqctx").iterdir())) == 1


LOST = "nothing: dlx has no queue for it, so it is LOST"
DROPPED = "no dead-letter exchange: dropped, unless its handler does otherwise"
KEYS = "k0, k1, k2, k3, k4, ..."
CUT_OFF = (
    "the run old, begun at 2026-11-28T02:00:00Z, has not ended: unless it is still under way, "
    "2 messages may have been sent by it, and not taken off the queue"
)


def result(*ways: Way) -> Result:
    made = Result("orders.dead", "run1", "2026-11-28T03:00:00Z", there=1200, chosen=1100)
    for way in ways:
        for number in range(7):
            key = f"k{number}" if way.exchange == "many" else way.routing_key
            keyed = Way(way.queue, way.exchange, key, *list(astuple(way))[3:])
            made.goes(keyed, ["x-death", "x-first-death-queue", "CC"])
    return made


def astuple(way: Way) -> tuple[Any, ...]:
    return tuple(getattr(way, name) for name in way.__struct_fields__)


def text_of(made: Result) -> str:
    columns = [list(column.cells) for column in plan_table(made, 200).columns]
    return "\n".join(" | ".join(map(str, row)) for row in zip(*columns, strict=True))


class TestPlanAsText:
    @pytest.mark.parametrize(
        ("way", "row"),
        [
            (THROUGH, "in | 7 | exchange orders, key order.new | nobody | dead"),
            (
                STRAIGHT,
                "in | 7 | straight to the queue, with its old key order.new | nobody | dead",
            ),
            (
                Way("in", "", "in", "x-death", False, (), (), "dlx"),
                "in | 7 | straight to the queue, key in | nobody | " + LOST,
            ),
            (
                Way("in", "", "in", "x-death", False, (), (), None),
                "in | 7 | straight to the queue, key in | nobody | " + DROPPED,
            ),
            (
                Way(None, "many", "k", "Spring AMQP", False, ("a", "b")),
                "wherever that leads | 7 | exchange many, key " + KEYS + " | a, b | unknown",
            ),
            (
                Way("in", "e\x1b[1m", "\r", "option", False, None, None),
                r"in | 7 | exchange e\x1b[1m, key \r | unknown | unknown",
            ),
        ],
    )
    def test_tells_where_how_who_else_and_where_a_second_failure_ends(
        self, way: Way, row: str
    ) -> None:
        assert text_of(result(way)) == row

    def test_is_a_block_of_lines_where_a_table_would_fold_names(self) -> None:
        console = Console(width=80, file=StringIO())
        with console.capture() as captured:
            console.print(plan_table(result(THROUGH), console.width))
        lines = [line.rstrip() for line in captured.get().splitlines()]
        assert lines == [
            "to                          in",
            "  messages                  7",
            "  through                   exchange orders, key order.new",
            "  a copy also to            nobody",
            "  a second failure ends in  dead",
        ]

    def test_counts_above(self) -> None:
        made = result(THROUGH)
        made.stays(message(message_id="m9"), "it is full")
        assert title_of(made, is_done=False) == (
            "1,200 messages in orders.dead, 1,100 chosen: 7 would go, 1 would stay"
        )
        assert title_of(made, is_done=True).endswith(": 7 were sent, 1 stays  run run1")

    def test_notes_what_goes_away_and_what_stays(self) -> None:
        made = result(THROUGH)
        for number in range(101):
            made.stays(message(position=number), "it is full")
        assert list(notes_of(made)) == [
            "goes away: CC (7), x-death (7)",
            "stays: 101, it is full: " + ", ".join(f"#{n}" for n in range(10)) + ", ...",
        ]
        assert made.kept == 101

    def test_names_what_may_have_been_sent_twice_and_what_came_back(self) -> None:
        made = result()
        made.interrupted = [Interrupted("old", "2026-11-28T02:00:00Z", ("d1", "d2"))]
        made.again = ["m1"]
        made.twice = ["m2"]
        made.copied = 3
        made.came_back = Counter({"rejected": 1, "Timeout": 2})
        assert list(notes_of(made)) == [
            CUT_OFF,
            "of these, 1 is chosen again: m1",
            "sent twice, perhaps: 1: m2",
            "3 others were copied to the queue's end",
            "came back: 3 of 0",
            "  2  Timeout",
            "  1  rejected",
        ]
        assert outcome_of(made) == (
            "0 were sent (mqctx-redrive has the run run1), and 1 perhaps twice; "
            "all others are in place"
        )
        made.under_way = ["m3", "m4"]
        assert "2 are in place, and may have been sent, too: m3, m4;" in outcome_of(made)

    def test_a_message_is_called_by_its_id_else_by_its_position(self) -> None:
        assert name_of(message(message_id="m")) == "m"
        assert name_of(message(position=7)) == "#7"


class TestPlanAsJson:
    def test_shows_the_bytes_of_a_routing_key_that_is_not_utf_8(self) -> None:
        made = result(msgspec.structs.replace(THROUGH, routing_key="k\udcff"))
        plan = next(made.plan_as_json())
        assert json.loads(msgspec.json.encode(plan))["routing_keys"] == ["k\\xff"]

    def test_has_an_object_for_each_way_and_each_reason(self) -> None:
        made = result(THROUGH)
        made.stays(message(message_id="m9"), "it is full")
        made.interrupted = [Interrupted("old", "2026-11-28T02:00:00Z", ("d1",))]
        made.again = ["m1"]
        interrupted, plan, removed, stays = made.plan_as_json()
        assert interrupted == {
            "kind": "interrupted",
            "run": "old",
            "at": "2026-11-28T02:00:00Z",
            "may_have_sent": 1,
            "still_here": ["m1"],
        }
        assert plan == {
            "kind": "plan",
            "queue": "orders.dead",
            "to": "in",
            "exchange": "orders",
            "routing_keys": ["order.new"],
            "by": "x-death",
            "messages": 7,
            "also": (),
            "dead_letter_exchange": "dlx",
            "second_failure": ("dead",),
        }
        assert removed == {
            "kind": "removed",
            "queue": "orders.dead",
            "messages": {"x-death": 7, "x-first-death-queue": 7, "CC": 7},
        }
        assert stays == {
            "kind": "stays",
            "queue": "orders.dead",
            "reason": "it is full",
            "messages": 1,
            "names": ["m9"],
        }

    def test_of_nothing_is_nothing(self) -> None:
        assert list(result().plan_as_json()) == []

    def test_of_a_result_counts(self) -> None:
        made = result(THROUGH)
        made.came_back = Counter({"rejected": 2})
        assert made.as_json() == {
            "kind": "result",
            "queue": "orders.dead",
            "run": "run1",
            "at": "2026-11-28T03:00:00Z",
            "there": 1200,
            "chosen": 1100,
            "sent": 7,
            "stayed": 0,
            "may_be_twice": [],
            "came_back": {"rejected": 2},
        }
        assert result().as_json()["came_back"] is None
