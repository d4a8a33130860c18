"""Journeys in Chrome's trace event format, which Perfetto and speedscope open."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from mqctx.inspection._journeys._spans import Json, span_of, told_of
from mqctx.inspection._whole_file import replacing

__all__ = ["ChromeFile", "chrome_file"]

_CATEGORIES: Final = {
    "publish": "publish", "delivery": "wait", "run": "handler", "dead_letter": "dead letter",
}  # fmt: skip


@contextmanager
def chrome_file(path: Path) -> Generator["ChromeFile"]:
    """Write events to a file, which is replaced when the block ends.

    Raises:
        OSError: The file cannot be written, or is no file. Raised before the block begins.
    """
    with replacing(path) as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[')
        chrome = ChromeFile(file)
        yield chrome
        chrome.end_journey()
        file.write("]}\n")


class ChromeFile:
    """A file that is being written; made by `chrome_file`. A journey is a process in it.

    Overlapping events of a journey get threads of their own: the viewers draw the events of one
    thread inside each other.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._separator = ""
        self._journey: tuple[str | None, str] | None = None
        self._number = 0
        self._events: list[Json] = []

    def add(self, item: Json) -> None:
        """Take an event, as the command prints it with `--json`; a summary is left out."""
        if item["kind"] == "summary":
            return
        journey = (item["by"], item["journey"])
        if journey != self._journey:
            self.end_journey()
            self._journey = journey
        self._events.append(item)

    def end_journey(self) -> None:
        """Write the journey that was added last."""
        if not self._events or self._journey is None:
            return
        self._number += 1
        self._write({"ph": "M", "name": "process_name", "args": {"name": self._journey[1]}})
        ends: list[int] = []
        spans = [(span_of(event), event) for event in self._events]
        for span, event in sorted(spans, key=lambda each: (each[0].start, each[0].end)):
            self._write(
                {
                    "ph": "X",
                    "name": span.name,
                    "cat": _CATEGORIES.get(event["kind"], event["kind"]),
                    "ts": span.start,
                    "dur": span.end - span.start,
                    "tid": _thread(ends, span.start, span.end),
                    "args": told_of(event),
                }
            )
        self._events = []

    def _write(self, event: dict[str, Any]) -> None:
        text = json.dumps({"pid": self._number, **event}, separators=(",", ":"))
        self._file.write(f"{self._separator}{text}")
        self._separator = ",\n"


def _thread(ends: list[int], start: int, end: int) -> int:
    """Return the first thread that is free from `start` on, and keep it until `end`."""
    for thread, busy_until in enumerate(ends):
        if busy_until <= start:
            ends[thread] = end
            return thread + 1
    ends.append(end)
    return len(ends)
