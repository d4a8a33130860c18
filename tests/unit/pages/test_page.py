"""Pages as files: whole or not there, and data that stays data whatever it says."""

import json
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from mqctx.inspection._pages import Page, dead_letters_page, journeys_page
from tests.unit.pages.made_up import dead_letters, journeys

PageOf = Callable[[Path], AbstractContextManager[Page]]

_BLOCK = re.compile(r'<script type="application/json" class="data">(.*?)</script>', re.DOTALL)


def written(path: Path, *items: dict[str, object]) -> str:
    with dead_letters_page(path) as page:
        for item in items:
            page.add(item)
    return path.read_text()


def data(text: str) -> Iterator[dict[str, object]]:
    for block in _BLOCK.findall(text):
        yield from json.loads(block)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "page.html"


def test_a_page_contains_its_objects_in_order_over_several_blocks(path: Path) -> None:
    messages = list(dead_letters(1_500))

    with dead_letters_page(path) as page:
        for message in messages:
            page.add(message)

    text = path.read_text()
    assert list(data(text)) == messages
    assert len(_BLOCK.findall(text)) > 1


def test_an_object_larger_than_a_block_ends_it(path: Path) -> None:
    text = written(path, {"id": 1, "body": "x" * 500_000}, {"id": 2})
    assert [item["id"] for item in data(text)] == [1, 2]
    assert len(_BLOCK.findall(text)) == 2


def test_a_page_of_nothing_is_a_page(path: Path) -> None:
    with journeys_page(path) as page:
        page.about = {"events": 0}
    assert '<script type="application/json" id="about">{"events":0}</script>' in path.read_text()


def test_what_a_page_says_about_its_data_may_come_last(path: Path) -> None:
    with journeys_page(path) as page:
        for event in journeys(3):
            page.add(event)
        page.about = {"events": 7}
    assert '{"events":7}' in path.read_text()


@pytest.mark.parametrize(
    "hostile",
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "\u2028\u2029",
        "\udc00\ud800",
        "\x00\u202e",
        "]]>",
    ],
)
def test_no_text_ends_the_data(path: Path, hostile: str) -> None:
    text = written(path, {"id": hostile, "headers": {hostile: [hostile]}})
    assert list(data(text)) == [{"id": hostile, "headers": {hostile: [hostile]}}]
    assert "alert" not in _BLOCK.sub("", text)


def test_numbers_that_javascript_would_change_become_text(path: Path) -> None:
    numbers = [2**63 - 1, -(2**63), math.nan, -math.inf, 42, 1.5, 0.1234567890123456789, 1e300]
    said = [2**63, "1234567890123456789", "NaN", '\\"12345678901234567']
    text = written(path, {"headers": {"numbers": numbers, "said": said}})
    assert list(data(text)) == [
        {
            "headers": {
                "numbers": [
                    "9223372036854775807", "-9223372036854775808", "NaN", "-Infinity",
                    42, 1.5, 0.12345678901234568, 1e300,
                ],
                "said": ["9223372036854775808", *said[1:]],
            }
        }
    ]  # fmt: skip


def test_what_is_nested_too_deeply_is_left_out_alone(path: Path) -> None:
    deep: object = "bottom"
    for _ in range(100_000):
        deep = [deep]
    text = written(path, {"id": "m-1", "body": deep, "headers": {"deep": deep, "tenant": "acme"}})
    too_deep = "(nested too deeply to show)"
    assert list(data(text)) == [
        {"id": "m-1", "body": too_deep, "headers": {"deep": too_deep, "tenant": "acme"}}
    ]


class TestFile:
    def interrupted(self, path: Path) -> None:
        with dead_letters_page(path) as page:
            page.add({"id": "m-1"})
            assert path.read_text() == "as it was"
            raise KeyboardInterrupt

    def test_a_file_that_exists_is_replaced_as_a_whole_or_not_at_all(self, path: Path) -> None:
        path.write_text("as it was")
        with pytest.raises(KeyboardInterrupt):
            self.interrupted(path)
        assert path.read_text() == "as it was"
        assert list(path.parent.iterdir()) == [path]

    def test_a_file_that_a_link_names_is_replaced_not_the_link(
        self, path: Path, tmp_path: Path
    ) -> None:
        link = tmp_path / "latest.html"
        link.symlink_to(path)
        written(link, {"id": "m-1"})
        assert link.is_symlink()
        assert '"m-1"' in path.read_text()

    @pytest.mark.parametrize("name", [".", "missing/page.html", "/dev/null"])
    def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(
        self, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(OSError), dead_letters_page(tmp_path / name):  # noqa: PT011 - any will do
            pytest.fail("refused too late")
        assert not any(tmp_path.iterdir())
        assert not Path("/dev/null").is_file()

    def test_a_file_has_the_rights_that_the_umask_leaves(self, path: Path) -> None:
        before = os.umask(0o027)
        try:
            written(path, {"id": "m-1"})
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("page_of", [dead_letters_page, journeys_page])
class TestShell:
    def test_a_page_has_little_script_and_asks_for_nothing(
        self, path: Path, page_of: PageOf
    ) -> None:
        with page_of(path):
            pass
        text = path.read_text()
        (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert len(script) < 30_720
        addresses = set(re.findall(r"https?://[^\"'\s]+", text))
        assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a namespace
        assert "default-src 'none'; script-src 'sha256-" in text
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)
