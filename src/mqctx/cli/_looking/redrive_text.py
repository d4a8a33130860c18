"""A plan, and its outcome, as text."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from mqctx.cli._looking.text import counted, escaped, listed, number
from mqctx.inspection._redrive_result import Leg, Result
from mqctx.inspection._ways import Way

__all__ = ["notes_of", "outcome_of", "plan_table", "title_of"]

_MOST_NAMES: Final = 10
_COLUMNS: Final[Mapping[str, Mapping[str, Any]]] = {
    "to": {"style": "cyan"},
    "messages": {"justify": "right"},
    "through": {},
    "a copy also to": {},
    "a second failure ends in": {},
}
_GAP: Final = 2


def title_of(result: Result, *, is_done: bool) -> str:
    """Return the line above a plan, or above its outcome."""
    text = f"{counted(result.there, 'message')} in {escaped(result.queue)}"
    if result.chosen != result.there:
        text += f", {number(result.chosen)} chosen"
    if not is_done:
        return f"{text}: {number(result.sent)} would go, {number(result.kept)} would stay"
    # By the run's name, the messages can be found wherever they are now: they carry it.
    stay = counted(result.kept, "stays", "stay")
    return f"{text}: {_sent(result)}, {stay}  run {result.run}"


def outcome_of(result: Result) -> str:
    """Return what was done, in a line."""
    sent = f"{_sent(result)} (mqctx-redrive has the run {result.run})"
    if result.twice:
        sent += f", and {len(result.twice)} perhaps twice"
    if result.under_way:
        count, names = len(result.under_way), _names(result.under_way)
        there = counted(count, "is in place", "are in place")
        sent += f"; {there}, and may have been sent, too: {names}"
    return f"{sent}; all others are in place"


def _sent(result: Result) -> str:
    return counted(result.sent, "was sent", "were sent")


def plan_table(result: Result, width: int) -> Table:
    """Return a table of where the messages go; where it has no room, a block of lines for each."""
    rows = [*map(_row, result.legs.values())]
    return _table(rows) if _width_of(rows) <= width else _blocks(rows)


def _width_of(rows: Sequence[tuple[str, ...]]) -> int:
    widths = [max(map(cell_len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    return sum(widths) + _GAP * (len(widths) - 1)


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for title, look in _COLUMNS.items():
        table.add_column(title, **look)
    for row in rows:
        table.add_row(*row)
    return table


def _row(leg: Leg) -> tuple[str, ...]:
    way = leg.way
    return (
        escaped(way.queue or "wherever that leads"),
        number(leg.messages),
        _through(leg),
        _queues(way.also, nobody="nobody"),
        _second(way),
    )


def _blocks(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        (to, queue), *others = zip(_COLUMNS, row, strict=True)
        table.add_row(to, Text(queue, "cyan"))
        for title, text in others:
            table.add_row(f"  {title}", Text(text))
    return table


def _through(leg: Leg) -> str:
    way = leg.way
    keys = listed(leg.routing_keys, and_more=leg.has_more_keys)
    if way.exchange:
        return f"exchange {escaped(way.exchange)}, key {keys}"
    if way.is_by_bcc:
        return f"straight to the queue, with its old key {keys}"
    return f"straight to the queue, key {keys}"


def _queues(names: Sequence[str] | None, *, nobody: str) -> str:
    if names is None:
        return "unknown"
    return ", ".join(map(escaped, names)) or nobody


def _second(way: Way) -> str:
    if way.second is None:
        return "unknown"
    if way.dead_letter_exchange is None:
        return "no dead-letter exchange: dropped, unless its handler does otherwise"
    through = escaped(way.dead_letter_exchange)
    return _queues(way.second, nobody=f"nothing: {through} has no queue for it, so it is LOST")


def notes_of(result: Result) -> Iterator[str]:
    """Yield what is to be said beside the table."""
    yield from _removed(result.removed)
    for reason, stayed in result.stayed.items():
        yield f"stays: {number(stayed.messages)}, {escaped(reason)}: {_names(stayed.names)}"
    yield from _doubts(result)
    if result.copied:
        copied = counted(result.copied, "other was", "others were")
        yield f"{copied} copied to the queue's end"
    if result.came_back is not None:
        yield from _came_back(result, result.came_back)


def _removed(removed: Mapping[str, int]) -> Iterator[str]:
    """Yield which headers go away: of `x-death` and what RabbitMQ repeats of it, the former."""
    told = [
        f"{name} ({number(count)})"
        for name, count in sorted(removed.items())
        if not name.startswith(("x-first-death-", "x-last-death-"))
    ]
    if told:
        yield f"goes away: {', '.join(told)}"


def _doubts(result: Result) -> Iterator[str]:
    """Yield what may have been sent more than once, by this run or an earlier one."""
    for run in result.interrupted:
        yield (
            f"the run {run.run}, begun at {run.at}, has not ended: unless it is still under way, "
            f"{counted(len(run.messages), 'message')} may have been sent by it, and not taken off "
            "the queue"
        )
    if result.again:
        are = counted(len(result.again), "is", "are")
        yield f"of these, {are} chosen again: {_names(result.again)}"
    if result.twice:
        yield f"sent twice, perhaps: {number(len(result.twice))}: {_names(result.twice)}"


def _came_back(result: Result, told: Counter[str]) -> Iterator[str]:
    yield f"came back: {number(sum(told.values()))} of {number(result.sent)}"
    for reason, count in sorted(told.items(), key=lambda each: -each[1]):
        yield f"  {number(count)}  {escaped(reason)}"


def _names(names: Sequence[str]) -> str:
    return listed(names[:_MOST_NAMES], and_more=len(names) > _MOST_NAMES)
