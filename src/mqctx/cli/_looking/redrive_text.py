"""A plan, and what came of it, as text."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.table import Table

from mqctx.cli._looking.text import escaped, number
from mqctx.inspection._redrive_result import Leg, Result
from mqctx.inspection._ways import Way

__all__ = ["notes_of", "outcome_of", "plan_table", "title_of"]

_MOST_NAMES: Final = 10


def title_of(result: Result, *, is_done: bool) -> str:
    """Return the line above a plan, or above what came of it."""
    go, stay = ("were sent", "stay") if is_done else ("would go", "would stay")
    text = f"{number(result.there)} messages in {escaped(result.queue)}"
    if result.chosen != result.there:
        text += f", {number(result.chosen)} chosen"
    text += f": {number(result.sent)} {go}, {number(result.kept)} {stay}"
    # By the run's name, the messages can be found wherever they are now: they carry it.
    return f"{text}  run {result.run}" if is_done else text


def outcome_of(result: Result) -> str:
    """Return what was done, in a line."""
    sent = f"{number(result.sent)} were sent (mqctx-redrive has the run {result.run})"
    if result.twice:
        sent += f", and {len(result.twice)} perhaps twice"
    if result.under_way:
        count, names = len(result.under_way), _names(result.under_way)
        sent += f"; {count} are in place, and may have been sent, too: {names}"
    return f"{sent}; all others are in place"


def plan_table(result: Result) -> Table:
    """Return a table of where the messages go."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("to", overflow="fold", style="cyan")
    table.add_column("messages", justify="right", no_wrap=True)
    for title in ("through", "a copy also to", "a second failure ends in"):
        table.add_column(title, overflow="fold")
    for leg in result.legs.values():
        way = leg.way
        table.add_row(
            escaped(way.queue or "wherever that leads"),
            number(leg.messages),
            _through(leg),
            _queues(way.also, nobody="nobody"),
            _second(way),
        )
    return table


def _through(leg: Leg) -> str:
    way = leg.way
    keys = ", ".join(map(escaped, leg.routing_keys)) + (", ..." if leg.has_more_keys else "")
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
    if way.queue is None or way.second is None:
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
        yield f"{number(result.copied)} others were copied to the queue's end"
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
            f"{len(run.messages)} messages may have been sent by it and not taken off the queue"
        )
    if result.again:
        yield f"of these, {number(len(result.again))} are chosen again: {_names(result.again)}"
    if result.twice:
        yield f"sent twice, perhaps: {number(len(result.twice))}: {_names(result.twice)}"


def _came_back(result: Result, told: Counter[str]) -> Iterator[str]:
    yield f"came back: {number(sum(told.values()))} of {number(result.sent)}"
    for reason, count in sorted(told.items(), key=lambda each: -each[1]):
        yield f"  {number(count)}  {escaped(reason)}"


def _names(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _MOST_NAMES else ""
    return ", ".join(map(escaped, names[:_MOST_NAMES])) + more
