"""A journey as a tree of text."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from sys import maxsize
from typing import Any, Final

from rich.text import Text

from mqctx.cli._looking.text import escaped

__all__ = ["tree"]

Record = dict[str, Any]
_MOST_VALUES: Final = 6
_MOST_TEXT: Final = 60
_STYLES: Final = {"publish": "", "delivery": "green", "dead_letter": "red", "run": "cyan"}
_BEFORE_CLIENT: Final = "  "
_NOT_SHOWN: Final = ("trace_id", "span_id", "parent_span_id", "trace_flags", "tracestate")


def tree(records: Sequence[Record], width: int = maxsize) -> list[Text]:
    """Return the lines of a journey, or of a part of one, whose parents come before children.

    A line wider than `width` does not name the client, or is cut.
    """
    below = _by_parent(records)
    lines = [_title(records)]
    # A stack rather than recursion: a message that dies again and again goes deep.
    stack = _to_draw(below[None], "")
    while stack:
        record, indent, is_last = stack.pop()
        lines.append(_line(record, indent + ("└─ " if is_last else "├─ "), width))
        stack += _to_draw(below[record["id"]], indent + ("   " if is_last else "│  "))
    return lines


def _by_parent(records: Sequence[Record]) -> defaultdict[str | None, list[Record]]:
    """Return the records below each other, and below None those whose parent is not there."""
    below: defaultdict[str | None, list[Record]] = defaultdict(list)
    here = {record["id"]: record["id"] for record in records}
    for record in records:
        # The parent may have been printed with an earlier part of the journey.
        below[here.get(record["parent"])].append(record)
    return below


def _to_draw(siblings: Sequence[Record], indent: str) -> list[tuple[Record, str, bool]]:
    """Return records with their indent, and whether they are the last, the first one on top."""
    return [(each, indent, each is siblings[-1]) for each in reversed(siblings)]


def _title(records: Sequence[Record]) -> Text:
    first = records[0]
    title = Text(_short(first["journey"]), style="bold")
    values: Record = {}
    for record in records:
        values |= record["context"]
    by = first["by"] or ("of its own" if values else "without context")
    return title.append("   ".join(["", _short(by), *_shown(values, by)]), style="dim")


def _shown(values: Record, by: str) -> list[str]:
    """Return what a title says of a context, beside what names the journey."""
    hidden = (*_NOT_SHOWN, by)
    shown = [f"{_short(n)}={_short(value)}" for n, value in values.items() if n not in hidden]
    return shown[:_MOST_VALUES]


def _line(record: Record, indent: str, width: int) -> Text:
    line = Text(indent, style="dim")
    line.append(f"{_clock(record['at'])} ", style="not dim")
    style = f"not dim {_STYLES[record['kind']]}".strip()
    words = " ".join(_WORDS[record["kind"]](record))
    note = f"   ~ inferred by {record['joined'] or 'connection'}" if record["inferred"] else ""
    room = width - len(note)
    if len(line) + len(words) > room:
        words = words.partition(_BEFORE_CLIENT)[0]
    line.append(words, style=style)
    line.truncate(room, overflow="ellipsis")
    return line.append(note, style="yellow")


def _publish(record: Record) -> Iterator[str]:
    queues = record["queues"]
    if record["exchange"]:
        yield f"published to {_short(record['exchange'])} with {_keys(record)}"
        if queues:
            yield f"-> {', '.join(map(_short, queues))}"
    else:
        yield f"published to queue {_keys(record)}"
    if queues == []:
        yield "-> no queue"
    yield from _by(record, "by")


def _delivery(record: Record) -> Iterator[str]:
    yield f"delivered from {_short(record['queue'])}"
    if record["wait"] is not None:
        yield f"after {_seconds(record['wait'])}"
    if record["attempt"] > 1:
        yield f"(attempt {record['attempt']})"
    yield from _by(record, "to")


def _dead_letter(record: Record) -> Iterator[str]:
    # A handler need not know the queue that it reads.
    queue = "" if record["queue"] is None else f" from {_short(record['queue'])}"
    yield f"dead-lettered{queue}: {_short(record['reason'])}"
    if record["count"] > 1:
        yield f"({record['count']} times)"


def _run(record: Record) -> Iterator[str]:
    yield f"handled by {_short(record['service'])} {_short(record['handler'])}:"
    yield _short(record["outcome"])
    if record["error"]:
        yield _short(record["error"])
    yield f"in {_seconds(record['duration'])}"


_WORDS: Final = {
    "publish": _publish,
    "delivery": _delivery,
    "dead_letter": _dead_letter,
    "run": _run,
}


def _by(record: Record, word: str) -> Iterator[str]:
    if record["connection"]:
        peer = str(record["connection"]).partition(" ")[0]
        yield f"{_BEFORE_CLIENT}{word} {_short(record['user'])} {_short(peer)}"


def _keys(record: Record) -> str:
    return ", ".join(map(_short, record["routing_keys"])) or "no key"


def _clock(at: str) -> str:
    moment = datetime.fromisoformat(at)
    return moment.strftime("%H:%M:%S.%f")[:12]


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:.1f} s"


def _short(value: object) -> str:
    text = str(value)
    if len(text) > _MOST_TEXT:
        text = f"{text[: _MOST_TEXT - 3]}..."
    return escaped(text)
