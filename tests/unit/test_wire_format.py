"""Each example in docs/wire-format.md is what the formats write and read."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mqctx import Context, JsonFormat, Propagator, Rejection
from mqctx.formats import Format
from mqctx.formats.baggage import BaggageFormat
from mqctx.formats.flat import FlatFormat
from mqctx.formats.signed import SignedFormat
from mqctx.formats.trace_context import TraceContextFormat

PAGE = (Path(__file__).parents[2] / "docs/wire-format.md").read_text()
EXAMPLE = re.compile(
    r"^```text\n(\S.*?) (writes and reads|writes|reads)\n([^`]*)^```$", re.MULTILINE
)
EXAMPLES = EXAMPLE.findall(PAGE)
FORMATS: dict[str, Format] = {
    "JsonFormat()": JsonFormat(),
    "BaggageFormat()": BaggageFormat(),
    "FlatFormat()": FlatFormat(),
    'FlatFormat({"request_id": "Request-Id", "attempt": "Attempt"})': FlatFormat(
        {"request_id": "Request-Id", "attempt": "Attempt"}
    ),
    'FlatFormat({"request_id": "property:correlation_id"})': FlatFormat(
        {"request_id": "property:correlation_id"}
    ),
    "SignedFormat(JsonFormat(), keys)": SignedFormat(
        JsonFormat(), {"2026-11": "correct horse battery staple"}
    ),
    "TraceContextFormat()": TraceContextFormat(),
}


class Example:
    """A context, headers, and what is rejected of them."""

    def __init__(self, text: str) -> None:
        lines = [line.split(": ", 1) for line in text.splitlines()]
        self.context: dict[str, Any] = {}
        self.rejected: list[tuple[str, ...]] = []
        self.headers: dict[str, str] = {}
        for name, said in lines:
            if name == "context":
                self.context = json.loads(said)
            elif name == "rejected":
                self.rejected.append(tuple(said.split(", ")))
            else:
                self.headers[name] = said


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqctx.formats.signed.time.time", lambda: 1763800000.5)


def examples(verb: str) -> list[Any]:
    """Return the formats and examples of a kind."""
    return [
        pytest.param(FORMATS[layout], Example(text), id=f"{layout} {number}")
        for number, (layout, verbs, text) in enumerate(EXAMPLES)
        if verb in verbs
    ]


@pytest.mark.parametrize(("layout", "example"), examples("writes"))
def test_what_the_page_says_is_written(layout: Format, example: Example) -> None:
    assert Context(example.context).run(Propagator(formats=[layout]).inject) == example.headers


@pytest.mark.parametrize(("layout", "example"), examples("reads"))
def test_what_the_page_says_is_read(layout: Format, example: Example) -> None:
    rejected: list[Rejection] = []
    propagator = Propagator(formats=[layout], on_rejected=rejected.append)
    assert propagator.extract(example.headers) == example.context
    assert [(each.key, each.reason) for each in rejected] == example.rejected


def test_there_are_examples_of_every_format() -> None:
    shown = {type(FORMATS[layout]) for layout, _, _ in EXAMPLES}
    assert shown == {JsonFormat, BaggageFormat, FlatFormat, SignedFormat, TraceContextFormat}
    assert len(examples("writes")) >= 6
    assert len(examples("reads")) >= 10


def test_the_limits_that_the_page_says_are_those_of_the_code() -> None:
    layout = SignedFormat(JsonFormat(), {"k": "0123456789abcdef"})
    assert layout.max_age == 30 * 24 * 60 * 60
    assert Propagator().max_bytes == 3584
    for said in ("30 days by default", "300 seconds ahead", "3584 by default", "64 members"):
        assert said in PAGE
