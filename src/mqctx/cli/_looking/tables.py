"""Groups of messages as a table: in 80 columns, or with more room."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.table import Table

from mqctx.cli._looking.text import clock, escaped, number, shown
from mqctx.inspection import Group

__all__ = ["groups_table"]

_WIDE: Final = 100
_WIDER: Final = 25
"""How much more a row takes for each further name."""
_MOST_LINES: Final = 4


def groups_table(width: int, names: Sequence[str], groups: Sequence[Group]) -> Table:
    """Return a table of the groups, with a line for each way in which their messages died."""
    with_date = _with_date(groups)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(escaped(name), overflow="fold", style="cyan")
    for title in ("messages", "requests"):
        table.add_column(title, justify="right", no_wrap=True)
    wide = _WIDE + _WIDER * (len(names) - 1)
    rows = _wide_rows if width >= wide else _narrow_rows
    rows(table, groups, with_date=with_date)
    return table


def _with_date(groups: Sequence[Group]) -> bool:
    days = {each[:10] for group in groups for each in (group.first, group.last) if each}
    return len(days) > 1


def _counts(group: Group) -> list[str]:
    requests = number(group.requests.count(), is_exact=group.requests.is_exact)
    return [*map(shown, group.values), number(group.messages), requests]


def _wide_rows(table: Table, groups: Sequence[Group], *, with_date: bool) -> None:
    table.add_column("from", overflow="fold")
    table.add_column("why", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("first", no_wrap=True)
    table.add_column("last", no_wrap=True)
    for group in groups:
        whys = _most_common(group.whys)
        table.add_row(
            *_counts(group),
            _origins(group),
            "\n".join(line for line, _ in whys),
            # A single one has all the messages, whose number stands in the line already.
            "\n".join(count for _, count in whys) if len(whys) > 1 else "",
            clock(group.first, with_date=with_date),
            clock(group.last, with_date=with_date),
        )


def _narrow_rows(table: Table, groups: Sequence[Group], *, with_date: bool) -> None:
    table.add_column("from, first and last, why", ratio=1, no_wrap=True, overflow="ellipsis")
    for group in groups:
        first, last = (clock(each, with_date=with_date) for each in (group.first, group.last))
        # In 80 columns, a line for each reason below the line that says where and when.
        whys = _most_common(group.whys)
        width = max(len(count) for _, count in whys)
        lines = [f"{count:>{width}}  {line}" for line, count in whys]
        origins = _origins(group).replace("\n", ", ")
        table.add_row(*_counts(group), "\n".join([f"{origins}  {first} .. {last}", *lines]))


def _origins(group: Group) -> str:
    return "\n".join(line for line, _ in _most_common(group.origins)) or "-"


def _most_common(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the most frequent names with their numbers, and a line for the rest."""
    ranked = sorted(counts.items(), key=lambda each: -each[1])
    if len(ranked) > _MOST_LINES:
        rest = ranked[_MOST_LINES - 1 :]
        ranked[_MOST_LINES - 1 :] = [(f"and {len(rest)} more", sum(count for _, count in rest))]
    return [(escaped(name), number(count)) for name, count in ranked]
