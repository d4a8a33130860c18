"""The page of journeys, in a browser."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from mqctx.inspection._pages import journeys_page
from tests.unit.pages.conftest import Browser
from tests.unit.pages.made_up import Json, journeys, one_journey
from tests.unit.pages.test_dead_letters import HOSTILE

EVENTS = list(journeys(60))
RAISED = {event["journey"] for event in EVENTS if event.get("outcome") == "raised"}
AT = "2026-11-28T06:43:48.{:06}Z"


def made(folder: Path, events: Iterable[Json], about: Json | None = None) -> Path:
    path = folder / "journeys.html"
    with journeys_page(path) as page:
        for event in events:
            page.add(event)
        page.add({"kind": "summary", **(about or {})})
    return path


def event(kind: str, name: str, at: int, parent: str | None = None, **more: object) -> Json:
    return {
        "kind": kind, "journey": "j", "by": "request_id", "id": name, "parent": parent,
        "joined": None, "inferred": False, "at": AT.format(at), "context": {}, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("pages"), EVENTS)


class TestList:
    def test_the_list_has_each_journey_once(self, browser: Browser, page: Path) -> None:
        browser.open(page)
        assert browser.text("h1") == "60 journeys"
        assert browser.text(".count") == "60 journeys"
        browser.run("document.querySelector('.row').focus()")
        browser.press(Keys.END)
        assert browser.texts(".journeys > .list .chip")[-3] == "request_id\nreq-00059"

    @pytest.mark.parametrize(
        ("query", "found"),
        [("req-00042", 1), ("request_id=req-0004*", 10), ("req-00042 on_step", 0), ("tenant=", 0)],
    )
    def test_the_list_is_searched_by_any_value(
        self, browser: Browser, page: Path, query: str, found: int
    ) -> None:
        browser.open(page)
        browser.search(query, f"{found} of 60 journeys")

    def test_the_list_shows_those_that_failed(self, browser: Browser, page: Path) -> None:
        browser.open(page)
        browser.one("[data-state=failed]").click()
        assert browser.text(".count") == f"{len(RAISED)} of 60 journeys"

    def test_the_list_is_ordered_as_asked(self, browser: Browser, page: Path) -> None:
        browser.open(page)
        browser.one("option[value=newest]").click()
        assert browser.text(".list .chip") == "request_id\nreq-00059"

    def test_the_list_says_what_was_not_seen(self, browser: Browser, tmp_path: Path) -> None:
        about: Json = {"dropped": 1_234, "untraced_nodes": ["rabbit@two"], "publishes": 7}
        browser.open(made(tmp_path, EVENTS[:8], about))
        dropped, untraced = browser.texts("main > .warning")
        assert "1,234 events were dropped" in dropped
        assert "rabbit@two" in untraced

    def test_the_list_of_nothing_says_so(self, browser: Browser, tmp_path: Path) -> None:
        browser.open(made(tmp_path, [], {"untraced_nodes": []}))
        assert browser.text(".sub") == "Nothing was seen."


class TestWaterfall:
    def rows(self, browser: Browser, folder: Path, *events: Json) -> list[str]:
        browser.open(made(folder, events))  # a single journey is open from the start
        return [" ".join(text.split()) for text in browser.texts(".waterfall .row")]

    def test_the_waterfall_tells_waiting_from_handling(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        rows = self.rows(
            browser, tmp_path,
            event("publish", "p", 0, exchange="orders", routing_keys=["new"]),
            event("delivery", "d", 30_000, "p", queue="billing", wait=0.03),
            event("run", "r", 40_000, "d", handler="bill", outcome="returned", duration=0.05),
            event("publish", "q", 60_000, "r", exchange="", routing_keys=["mail"]),
        )  # fmt: skip
        assert rows == [
            "level 1, published orders → new +0 ms",
            "level 2, delivered billing · bill 30 ms wait · 50 ms",
            "level 3, published (default) → mail +60 ms",
        ]
        wait, handle = (browser.one(f".track > .{kind}").rect for kind in ("wait", "handle"))
        assert wait["width"] * 5 == pytest.approx(handle["width"] * 3, rel=0.05)
        assert wait["x"] + wait["width"] < handle["x"]

    def test_the_waterfall_has_no_room_in_a_short_bar_for_its_time(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        with browser.sized(400):
            self.rows(
                browser, tmp_path,
                event("publish", "o", 0, exchange="orders", routing_keys=["old"]),
                event("publish", "p", 43_000, exchange="orders", routing_keys=["new"]),
                event("delivery", "d", 44_000, "p", queue="billing"),
                event("run", "r", 44_000, "d", handler="bill", outcome="returned", duration=0.012),
                event("publish", "q", 100_000, "r", exchange="", routing_keys=["mail"]),
            )  # fmt: skip
            tag = browser.all(".tag")[2]
            assert (tag.text, tag.get_attribute("class")) == ("1 ms wait · 12 ms", "tag over")

    def test_the_waterfall_without_a_record_of_the_handler_says_how_long_at_least(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        rows = self.rows(
            browser, tmp_path,
            event("publish", "p", 0, exchange="orders", routing_keys=["new"]),
            event("delivery", "d", 10_000, "p", queue="billing"),
            event("publish", "q", 25_000, "d", exchange="", routing_keys=["mail"],
                  inferred=True, joined="connection"),
        )  # fmt: skip
        assert rows[1:] == [
            "level 2, delivered billing 10 ms wait · ≥ 15 ms",
            "level 3, published (default) → mail ≈ inferred by connection +25 ms",
        ]

    def test_the_waterfall_shows_why_a_handler_dead_lettered_and_after_how_long_at_least(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        rows = self.rows(
            browser, tmp_path,
            event("publish", "p", 0, exchange="", routing_keys=["orders"]),
            event("delivery", "d", 10_000, "p", queue="orders"),
            event("dead_letter", "x", 35_000, "d", queue="orders", reason="KeyError: <b>'id'</b>"),
            event("publish", "q", 35_000, "x", exchange="dead", routing_keys=["orders"]),
        )  # fmt: skip
        assert rows[1:] == [
            "level 2, delivered orders 10 ms wait · ≥ 25 ms",
            "level 3, dead-lettered orders KeyError: <b>'id'</b>",
            "level 4, published dead → orders +35 ms",
        ]

    def test_the_waterfall_marks_times_that_contradict_each_other(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        rows = self.rows(
            browser, tmp_path,
            event("publish", "p", 500_000, exchange="orders", routing_keys=["new"]),
            event("delivery", "d", 488_000, "p", queue="billing"),
            event("delivery", "e", 600_000, "p", queue="mail"),
            event("run", "r", 570_000, "e", handler="send", outcome="returned", duration=0.001),
        )  # fmt: skip
        assert "⚠ 12 ms early" in rows[1]
        assert "⚠ 30 ms early" in rows[2]
        assert "⚠" not in rows[0]
        browser.all(".waterfall .row")[1].click()
        assert AT.format(488_000) in browser.text(".waterfall .detail")

    def test_the_waterfall_takes_no_late_event_for_a_contradiction(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        rows = self.rows(
            browser, tmp_path,
            event("publish", "p", 0, exchange="orders", routing_keys=["new"], inferred=True),
            event("delivery", "e", 5_000, "p", queue="mail"),
            event("run", "r", 3_000, "e", handler="send", inferred=True, joined="time"),
        )  # fmt: skip
        assert "⚠" not in "".join(rows)
        assert rows[0].endswith("≈ inferred +0 ms")
        assert "≈ inferred by time" in rows[1]

    def test_the_waterfall_takes_no_whole_second_of_the_broker_for_a_contradiction(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        dead = event("dead_letter", "x", 0, "d", queue="billing", reason="rejected")
        rows = self.rows(
            browser, tmp_path,
            event("publish", "p", 500_000, exchange="orders", routing_keys=["new"]),
            event("delivery", "d", 510_000, "p", queue="billing"),
            {**dead, "at": "2026-11-28T06:43:48Z"},
            {**dead, "id": "y", "at": "2026-11-28T06:43:47Z"},
        )  # fmt: skip
        assert "⚠" not in next(row for row in rows if "early" not in row and "rejected" in row)
        assert sum("early" in row for row in rows) == 1

    def test_the_waterfall_unfolds_a_step_by_keys_and_folds_the_journey(
        self, browser: Browser, page: Path
    ) -> None:
        browser.open(page)
        browser.run("document.querySelector('.row').focus()")
        browser.press(Keys.ENTER)
        browser.run("document.querySelector('.waterfall .row').focus()")
        browser.press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
        assert "connection" in browser.text(".waterfall .detail")
        browser.press(Keys.ESCAPE)
        assert browser.all(".waterfall .detail") == []
        browser.press(Keys.ESCAPE)
        assert browser.all(".waterfall") == []
        assert browser.run("return document.activeElement.matches('.row')") is True


def hostile(text: str) -> Json:
    names = ("exchange", "message_id", "user", "queue", "handler", "error", "reason", "joined")
    return {
        **event("delivery", f"id {text}", 0), **dict.fromkeys(names, text), "by": text,
        "journey": text, "routing_keys": [text], "headers": {text: text}, "context": {text: text},
        "inferred": True, "redelivered": True, "attempt": text, "wait": text, "queues": text,
    }  # fmt: skip


def test_text_of_strangers_stays_text(browser: Browser, tmp_path: Path) -> None:
    kinds = ("publish", "delivery", "dead_letter", "run", "<img src=x onerror=window.pwned=1>")
    events = [
        {**hostile(text), "kind": kind, "id": f"{text}{kind}"} for text in HOSTILE for kind in kinds
    ]
    browser.open(made(tmp_path, events, {"untraced_nodes": [HOSTILE[0]], "dropped": HOSTILE[0]}))
    browser.run("for (const row of document.querySelectorAll('.row')) row.click()")
    browser.run("for (const row of document.querySelectorAll('.waterfall .row')) row.click()")
    shown = str(browser.run("return document.body.textContent"))
    for text in HOSTILE[:7]:
        assert text in shown
    assert browser.run("return [typeof window.pwned, document.scripts.length]") == ["undefined", 2]
    assert max(browser.overflow(width) for width in (360, 1280)) <= 0
    assert browser.all("main :is(script, img, iframe, a, style, [onload], [onerror])") == []


def test_two_thousand_spans_open_soon(browser: Browser, tmp_path: Path) -> None:
    took = browser.open(made(tmp_path, one_journey(2_000)))
    print(f"2,000 spans: interactive after {took:.0f} ms")  # noqa: T201 - a figure to see
    browser.run("document.querySelector('.waterfall .row').focus()")
    browser.press(Keys.END, Keys.ENTER)
    assert "message_id" in browser.text(".waterfall .detail")
    assert took < 10_000
