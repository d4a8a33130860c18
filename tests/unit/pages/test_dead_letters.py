"""The page of dead letters, in a browser."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from mqctx.inspection._pages import dead_letters_page
from tests.unit.pages.conftest import Browser
from tests.unit.pages.made_up import Json, dead_letters

MESSAGES = list(dead_letters(100))


def made(folder: Path, messages: Iterable[Json], about: Json | None = None) -> Path:
    path = folder / "dead.html"
    with dead_letters_page(path) as page:
        page.about = about or {}
        for message in messages:
            page.add(message)
    return path


def tenants(messages: Iterable[Json]) -> Counter[object]:
    contexts = [message["context"] for message in messages]
    return Counter(context.get("tenant") for context in contexts if isinstance(context, dict))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("pages"), MESSAGES)


class TestGroups:
    def test_groups_are_those_of_the_name_with_the_fewest_and_count_as_the_table(
        self, browser: Browser, page: Path
    ) -> None:
        browser.open(page)
        counts = tenants(MESSAGES)
        assert browser.text("h1") == "100 messages in orders.dead"
        assert browser.one("#by").get_attribute("value") == "tenant"
        browser.one(".groups + .quiet").click()  # Show all
        shown = dict(zip(browser.texts(".group"), browser.texts("td.bar"), strict=True))
        assert shown == {str(name or "(none)"): str(count) for name, count in counts.items()}
        assert [int(each) for each in shown.values()] == sorted(counts.values(), reverse=True)

    def test_groups_follow_the_name_that_is_chosen(self, browser: Browser, page: Path) -> None:
        browser.open(page)
        browser.one("#by option[value=from]").click()
        assert sorted(browser.texts(".group")) == ["orders.billing", "orders.shipping"]

    def test_a_group_that_is_chosen_shows_its_messages_and_how_to_send_them_back(
        self, browser: Browser, page: Path
    ) -> None:
        browser.open(page)
        browser.one(".group").click()
        ((name, count),) = tenants(MESSAGES).most_common(1)
        assert browser.text(".count") == f"{count} of 100 messages"
        assert browser.text(".command code") == f"mqctx redrive orders.dead --where tenant={name}"
        browser.one(".filter").click()
        assert browser.text(".count") == "100 messages"

    def test_groups_begin_with_the_name_that_the_command_chose(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        browser.open(made(tmp_path, MESSAGES[:20], {"by": ["user"]}))
        assert browser.one("#by").get_attribute("value") == "user"


class TestReasons:
    def test_reasons_choose_messages(self, browser: Browser, page: Path) -> None:
        browser.open(page)
        failures = Counter(
            str(m["failure"]["type"]) for m in MESSAGES if isinstance(m["failure"], dict)
        )
        ((reason, count),) = failures.most_common(1)
        assert browser.text(".legend .key") == f"{reason}\n{count}"
        browser.one(".legend .key").click()
        assert browser.text(".count") == f"{count} of 100 messages"

    def test_reasons_over_time_choose_messages_by_the_keyboard(
        self, browser: Browser, page: Path
    ) -> None:
        browser.open(page)
        browser.run("document.querySelector('.plot').focus()")
        browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        said = browser.text(".said")
        browser.press(Keys.ENTER)
        count = said.split(": ")[1].split()[0]
        assert browser.text(".count") == f"{count} of 100 messages"
        assert browser.text(".filter").startswith(said.split(": ")[0])


class TestSearch:
    @pytest.mark.parametrize(
        "query",
        ["m-00042", "M-00042", '"m-00042"', "message.id=m-*42 m-0004", "position=42 m-00042"],
    )
    def test_the_search_finds_words_phrases_and_names(
        self, browser: Browser, page: Path, query: str
    ) -> None:
        browser.open(page)
        browser.search(query.replace("position=42 ", "message.position=42 "), "1 of 100 messages")

    @pytest.mark.parametrize(
        "query", ["m-00042 m-00043", "tenant=Acme", "tenant=cme", "from=m-00042"]
    )
    def test_the_search_finds_nothing_else(self, browser: Browser, page: Path, query: str) -> None:
        browser.open(page)
        browser.search(query, "0 of 100 messages")
        assert browser.text(".list") == "Nothing matches."

    def test_the_search_finds_a_value_of_the_context_by_its_name(
        self, browser: Browser, page: Path
    ) -> None:
        browser.open(page)
        count = tenants(MESSAGES)["initech"]
        browser.search("tenant=initech", f"{count} of 100 messages")
        browser.search("context.tenant=init*ch", f"{count} of 100 messages")

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("death.reason=rejected", 1), ("death.reason=expired", 0), ("deaths.reason=expired", 1),
            ("deaths.routing_keys=b", 1), ("retries=3", 1), ("failure.bound.retries=3", 1),
            ("headers.x.y=1", 1), ("message.position=1", 1), ("position=2", 0), ("missing=*", 0),
            ('context.tenant="a c"', 1), ("tenant=a*", 1),
        ],
    )  # fmt: skip
    def test_the_search_takes_names_as_the_command_does(
        self, browser: Browser, tmp_path: Path, query: str, found: int
    ) -> None:
        newest, older = ({"queue": "q", "reason": each} for each in ("rejected", "expired"))
        message: Json = {
            "queue": "dead", "position": 1, "context": {"tenant": "a c"}, "headers": {"x.y": 1},
            "deaths": [{**newest, "routing_keys": ["a", "b"]}, older],
            "failure": {"type": "E", "bound": {"retries": 3}},
        }  # fmt: skip
        browser.open(made(tmp_path, [message, {"queue": "dead", "position": 9}]))
        browser.search(query, f"{found} of 2 messages")

    def test_the_search_is_begun_and_ended_by_keys(self, browser: Browser, page: Path) -> None:
        browser.open(page)
        browser.press("/", "m-00042", Keys.ENTER, Keys.ENTER)
        assert browser.text(".count") == "1 of 100 messages"
        assert "m-00042" in browser.text(".detail")
        browser.press("/", Keys.ESCAPE)
        assert browser.text(".count") == "100 messages"


class TestMessage:
    def test_a_message_unfolds_to_all_that_is_known_and_folds_again(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        message = {
            **MESSAGES[0], "verified": False, "body": '{"order": 4711}',
            "celery": {"task": "orders.bill", "retries": 2},
            "rejections": [{"header": "baggage", "key": "user", "reason": "too long"}],
            "deaths": [{
                "queue": "orders.in", "reason": "expired", "count": 3, "exchange": "orders",
                "routing_keys": ["a", "b"], "at": None,
            }],
        }  # fmt: skip
        browser.open(made(tmp_path, [message]))
        row = browser.one(".row")
        row.click()
        assert row.get_attribute("aria-expanded") == "true"
        detail = browser.text(".detail")
        for said in [
            "CONTEXT, NOT SIGNED BY A KEY THAT IS KNOWN", "too long", "orders.bill", "4711",
            "orders.in expired 3 orders a, b", "traceparent", "m-00000",
        ]:  # fmt: skip
            assert said in detail
        row.click()
        assert browser.all(".detail") == []

    def test_a_message_is_reached_and_unfolded_by_keys(self, browser: Browser, page: Path) -> None:
        browser.open(page)
        browser.run("document.querySelector('.row').focus()")
        browser.press(Keys.END, Keys.ARROW_RIGHT)
        assert "m-00099" in browser.text(".detail")
        browser.press(Keys.ARROW_UP, Keys.ENTER)
        assert len(browser.all(".detail")) == 2
        browser.press(Keys.ESCAPE, Keys.ARROW_DOWN, Keys.ARROW_LEFT)
        assert browser.all(".detail") == []
        assert browser.run("return document.querySelectorAll('.row[tabindex=\"0\"]').length") == 1

    def test_a_message_without_anything_is_shown(self, browser: Browser, tmp_path: Path) -> None:
        browser.open(made(tmp_path, [{"queue": "dead", "position": 1}, {"queue": "dead"}]))
        assert browser.text("h1") == "2 messages in dead"
        browser.one(".row").click()
        assert "position" in browser.text(".detail")


class TestSendingBack:
    MESSAGES: tuple[Json, ...] = (
        {"queue": "dead", "why": "Timeout: ...", "failure": {"type": "Timeout", "message": "a"}},
        {"queue": "dead", "why": "Timeout: ...", "failure": {"type": "Timeout", "message": "b"}},
        {"queue": "dead", "why": "KeyError: 1", "failure": {"type": "KeyError", "message": "1"}},
        {"queue": "dead", "why": "KeyError: 2", "failure": {"type": "KeyError", "message": "2"}},
        {"queue": "dead", "why": "expired", "deaths": [{"queue": "in", "reason": "expired"}]},
    )

    @pytest.mark.parametrize(
        ("reason", "condition"),
        [
            ("Timeout: ...", "failure.type=Timeout"),
            ("expired", "death.reason=expired"),
            ("KeyError: 1", None),
        ],
    )
    def test_sending_back_is_offered_where_a_condition_chooses_what_is_shown(
        self, browser: Browser, tmp_path: Path, reason: str, condition: str | None
    ) -> None:
        browser.open(made(tmp_path, self.MESSAGES))
        browser.one(f"[data-why='{reason}']").click()
        shown = [f"mqctx redrive dead --where {condition}"] if condition else []
        assert browser.texts(".command code") == shown

    def test_sending_back_is_not_offered_where_the_page_has_not_all(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        browser.open(made(tmp_path, self.MESSAGES, {"limit": 5}))
        browser.one("[data-why=expired]").click()
        assert browser.texts(".command code") == []


def test_a_page_of_nothing_says_so(browser: Browser, tmp_path: Path) -> None:
    browser.open(made(tmp_path, []))
    assert browser.text("h1") == "No messages"


HOSTILE = [
    "<script>window.pwned = 1</script>", "</script><script>window.pwned = 1</script>",
    "<!--<script>", "<img src=x onerror=window.pwned=1>", "\"'><svg onload=window.pwned=1>",
    "javascript:window.pwned=1", "${window.pwned=1}", "__proto__", "constructor", "toString",
    "line\u2028paragraph\u2029", "half\ud800", "\udc00half", "\u202egnp.exe\u2066", "\x00\x1b[31m",
    "]]>", "&lt;b&gt;", "{data}<!-- data -->", "\\u003c", "a=b=c", "*", "", "  ", "'; rm -rf / #",
    "long" * 800, "\u4e2d" * 800,
]  # fmt: skip


def hostile(text: str) -> Json:
    return {
        "queue": text, "position": 1, "id": text, "exchange": text, "routing_key": text,
        "from": text, "published_at": text, "redelivered": text, "deliveries": text,
        "context": {"request_id": text, text: text, "deep": {text: [text]}}, "verified": text,
        "rejections": [{text: text}], "celery": {text: text}, "body": text,
        "deaths": [
            {"queue": text, "reason": text, "count": text, "routing_keys": [text], "at": text}
        ],
        "failure": {
            "type": text, "message": text, "at": text, "traceback": text, "bound": {text: text}
        },
        "headers": {text: text, "big": text * 3},
    }  # fmt: skip


ABOUT: Json = {
    "by": [HOSTILE[0]], "notes": HOSTILE, "where": HOSTILE, "outcome": HOSTILE[0],
    "looked": HOSTILE[0],
}  # fmt: skip


class TestStrangersText:
    def test_text_of_strangers_stays_text_wherever_it_stands(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        browser.open(
            made(
                tmp_path,
                [hostile(text) for text in HOSTILE],
                ABOUT,
            )
        )
        browser.run("""
            for (const row of document.querySelectorAll(".row")) row.click();
            const by = document.getElementById("by");
            for (const option of by.options) {
                by.value = option.value;
                by.dispatchEvent(new Event("change"));
                for (const group of document.querySelectorAll(".group")) group.click();
            }
            document.querySelector(".filter").click();
            for (const row of document.querySelectorAll(".row")) row.click();
        """)
        shown = str(browser.run("return document.body.textContent"))
        for text in HOSTILE[:7]:
            assert text in shown
        assert "\\u202egnp.exe\\u2066" in shown
        assert "\\u0000\\u001b[31m" in shown
        assert "half\\ud800" in shown
        assert browser.run("return [typeof window.pwned, document.scripts.length]") == [
            "undefined",
            2,
        ]
        assert max(browser.overflow(width) for width in (360, 1280)) <= 0
        assert (
            browser.all("main :is(script, img, iframe, a, style, svg svg, [onload], [onerror])")
            == []
        )

    def test_text_of_strangers_of_a_megabyte_is_shown_in_part_and_whole_when_asked_for(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        large = "<b>" + "x" * 1_000_000 + " end"
        browser.open(made(tmp_path, [{"queue": "dead", "headers": {"large": large}}]))
        browser.one(".row").click()
        assert len(browser.text(".detail")) < 3_000
        browser.one(".more").click()
        assert browser.run(
            "return [...document.querySelectorAll('.value')]"
            ".some((each) => each.textContent === arguments[0])",
            large,
        )
        browser.search("xx end", "1 message")

    def test_text_of_strangers_makes_no_command_that_would_do_other_than_it_says(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        values = ["plain", "o'clock $(id)", "two\nlines", "sta*r", "\u202eright"]
        messages: list[Json] = [
            {"queue": "dead", "position": i, "context": {"tenant": each}}
            for i, each in enumerate(values)
        ]
        browser.open(made(tmp_path, messages, {"where": ["a=b *"]}))
        commands = []
        for group in browser.all(".group"):
            group.click()
            commands += browser.texts(".command code")
        assert sorted(commands) == [
            "mqctx redrive dead --where 'a=b *' --where 'tenant=o'\\''clock $(id)'",
            "mqctx redrive dead --where 'a=b *' --where tenant=plain",
        ]


def test_nothing_leaves_the_page(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('.row').click()")
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    requests = [
        json.loads(str(entry["message"]))["message"] for entry in browser.log("performance")
    ]
    asked = {
        each["params"]["request"]["url"]
        for each in requests
        if each["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("file://")} == set()
    blocked = browser.driver.execute_async_script("""
        const done = arguments[0];
        fetch("http://127.0.0.1:9/").then(() => done("sent"), () => done("blocked"));
    """)
    assert blocked == "blocked"
    assert "Content Security Policy" in " ".join(browser.complaints())


def test_ten_thousand_messages_open_soon(browser: Browser, tmp_path: Path) -> None:
    took = browser.open(made(tmp_path, dead_letters(10_000)))
    print(f"10,000 dead letters: interactive after {took:.0f} ms")  # noqa: T201 - a figure to see
    browser.search("m-09999", "1 of 10,000 messages")
    browser.press(Keys.ENTER, Keys.ENTER)
    assert "m-09999" in browser.text(".detail")
    assert took < 15_000
