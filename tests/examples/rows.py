"""The rows of a page's tables, and the tests that show them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

DOCS = Path(__file__).parents[2] / "docs"
F = TypeVar("F", bound=Callable[..., object])


class Rows:
    """Which rows of a page have a test: `@rows.shows("first cell")`."""

    def __init__(self, page: str) -> None:
        text = (DOCS / page).read_text()
        lines = re.findall(r"^\| (.*?) \| .* \|$", text, re.MULTILINE)
        titles = re.findall(r"^\| (.*?) \| .* \|\n\|---", text, re.MULTILINE)
        self.text = text
        self.all = [line for line in lines if line not in titles]
        self.shown: dict[str, object] = {}

    def shows(self, row: str) -> Callable[[F], F]:
        """Mark the test of a row."""

        def mark(test: F) -> F:
            assert row not in self.shown
            self.shown[row] = test
            return test

        return mark
