"""Groups of messages as a table: in 80 columns, or with more room."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.table import Table

from mqctx.cli._looking.text import clocks, escaped, have_days, number, shown
from mqctx.inspection import Group

__all__ = ["groups_table"]

_WIDE: Final = 100
_WIDER: Final = 25
"""How much more a row takes for each further name."""
_MOST_LINES: Final = 4


def groups_table(width: int, names: Sequence[str], groups: Sequence[Group]) -> Table:
    """Return a table of the groups, with a line for each way in which their messages died."""
    with_date = have_days(*groups)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(escaped(name), overflow="fold", style="cyan")
    for title in ("messages", "requests"):
        table.add_column(title, justify="right", no_wrap=True)
    wide = _WIDE + _WIDER * (len(names) - 1)
    rows = _wide_rows if width >= wide else _narrow_rows
    rows(table, groups, with_date=with_date)
    return table


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
        lines, counts = zip(*_most_common(group.whys), strict=True)
        table.add_row(
            *_counts(group),
            _origins(group),
            "\n".join(lines),
            # A single one has all the messages, whose number stands in the line already.
            "\n".join(counts) if len(counts) > 1 else "",
            *clocks(group, with_date=with_date),
        )


def _narrow_rows(table: Table, groups: Sequence[Group], *, with_date: bool) -> None:
    table.add_column("from, first and last, why", ratio=1, no_wrap=True, overflow="ellipsis")
    for group in groups:
        when = " .. ".join(clocks(group, with_date=with_date))
        # In 80 columns, a line for each reason below the line that says where and when.
        whys = _most_common(group.whys)
        width = max(map(len, dict(whys).values()))
        lines = [f"{count:>{width}}  {line}" for line, count in whys]
        origins = _origins(group).replace("\n", ", ")
        table.add_row(*_counts(group), "\n".join([f"{origins}  {when}", *lines]))


def _origins(group: Group) -> str:
    return "\n".join(dict(_most_common(group.origins))) or "-"


def _most_common(counts: Counter[str]) -> list[tuple[str, str]]:
    """Return the most frequent names with their numbers, and a line for the rest."""
    ranked = counts.most_common()
    if len(ranked) > _MOST_LINES:
        rest = dict(ranked[_MOST_LINES - 1 :])
        ranked[_MOST_LINES - 1 :] = [(f"and {len(rest)} more", sum(rest.values()))]
    return [(escaped(name), number(count)) for name, count in ranked]
