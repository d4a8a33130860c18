"""The examples in README and docs are executed as they stand, against the tests' broker."""

import logging
import re
import runpy
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import get_args, get_type_hints

import celery
import loguru
import pytest
import structlog

import mqctx
from mqctx.adapters import celery as celery_adapter

from .broker import Broker

ROOT = Path(__file__).parents[2]
URL = "amqp://guest:guest@127.0.0.1/"
# A block of Python, and its output if a block of text follows it at once.
EXAMPLE = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n\n```text\n(?P<output>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
# Examples that are tests, and files: tests/testing and tests/examples run them.
OTHERS = {ROOT / "docs/testing.md", ROOT / "docs/tutorial.md"}
PAGES = [ROOT / "README.md", *sorted({*(ROOT / "docs").rglob("*.md")} - OTHERS)]
# Served by mqctx, but no dependencies. They are missing with the lowest versions of its clients;
# with the newest they are there, or tests/middleware, tests/logging and the type checker fail.
BESIDE = (
    *("asgi_correlation_id", "django", "fastapi", "flask", "litestar", "pythonjsonlogger"),
    "starlette",
)


def pages_examples() -> list[object]:
    """Return each Python block of each page, with its place."""
    found: list[object] = []
    for page in PAGES:
        text = page.read_text()
        for match in EXAMPLE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            used = re.findall(r"^(?:from|import) (\w+)", match["code"], re.MULTILINE)
            marks = [
                pytest.mark.skip(f"without {name}")
                for name in BESIDE
                if name in used and find_spec(name) is None
            ]
            place = f"{page.relative_to(ROOT)}:{line}"
            found.append(pytest.param(match["code"], match["output"], id=place, marks=marks))
    return found


@pytest.fixture(autouse=True)
def _uninstrument() -> Iterator[None]:
    """An example's Celery app outlives it, as the current one."""
    yield
    celery_adapter.uninstrument(celery.current_app)


@pytest.fixture(autouse=True)
def _reset_logging() -> Iterator[None]:
    """Loggers outlive the example that configures them, and the stream that they write to."""
    before = {name: [*handlers] for name, handlers in log_handlers().items()}
    yield
    for name, handlers in log_handlers().items():
        handlers[:] = before.get(name, [])
    structlog.reset_defaults()
    loguru.logger.remove()
    loguru.logger.configure(patcher=lambda _: None, extra={})


def log_handlers() -> dict[str, list[logging.Handler]]:
    """Return the handlers of each logger there is, the root's under no name."""
    known = logging.Logger.manager.loggerDict.items()
    loggers = {name: each for name, each in known if isinstance(each, logging.Logger)}
    return {name: each.handlers for name, each in {**loggers, "": logging.getLogger()}.items()}


@pytest.mark.parametrize(("code", "output"), pages_examples())
def test_an_example_runs_and_prints_what_it_says(
    code: str,
    output: str | None,
    broker: Broker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = tmp_path / "example.py"
    looks = f'Inspector("{broker.url}", management="{broker.management}"'
    script.write_text(code.replace(f'Inspector("{URL}"', looks).replace(URL, broker.url))
    runpy.run_path(str(script))
    said = re.findall(r"print\(.*\)  # (.*)", code) if output is None else output.splitlines()
    assert capsys.readouterr().out.splitlines() == said


def test_the_reasons_in_the_guide_are_those_of_the_code() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/guide.md").read_text(), re.MULTILINE)
    assert tuple(listed) == get_args(get_type_hints(mqctx.Rejection)["reason"])
