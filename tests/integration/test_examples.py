"""The examples in README and docs are executed as they stand, against the tests' broker."""

import re
import runpy
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import celery
import pytest

from mqctx._core import rejection
from mqctx.adapters import celery as celery_adapter

ROOT = Path(__file__).parents[2]
URL = "amqp://guest:guest@127.0.0.1/"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Frameworks that mqctx serves and does not depend on. They are not there with the lowest versions
# of its clients; with the newest they are, or tests/middleware fails.
BESIDE = ("django", "fastapi", "flask", "litestar", "starlette")
FORMATTER = "pythonjsonlogger"  # of one example; tests/logging fails where it is missing


def pages_examples() -> list[object]:
    """Return each Python block of each page, with its place."""
    found: list[object] = []
    for page in PAGES:
        text = page.read_text()
        absent = page.stem in BESIDE and find_spec(page.stem) is None
        marks = [pytest.mark.skip(f"without {page.stem}")] if absent else []
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            place = f"{page.relative_to(ROOT)}:{line}"
            own = marks
            if FORMATTER in match[1] and find_spec(FORMATTER) is None:
                own = [pytest.mark.skip(f"without {FORMATTER}")]
            found.append(pytest.param(match[1], id=place, marks=own))
    return found


@pytest.fixture(autouse=True)
def _uninstrument() -> Iterator[None]:
    """An example's Celery app outlives it, as the current one."""
    yield
    celery_adapter.uninstrument(celery.current_app)


@pytest.mark.parametrize("code", pages_examples())
def test_an_example_runs_and_prints_what_it_says(
    code: str, amqp_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "example.py"
    script.write_text(code.replace(URL, amqp_url))
    runpy.run_path(str(script))
    said = [comment.strip() for comment in re.findall(r"print\(.*\)  # (.*)", code)]
    assert capsys.readouterr().out.splitlines() == said


def test_the_reasons_in_the_guide_are_those_of_the_code() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/guide.md").read_text(), re.MULTILINE)
    assert tuple(listed) == get_args(rejection.Reason)
