"""Tables, for a terminal and for a page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns, and what a reader must know of them."""

    title: str
    note: str
    columns: Row
    rows: Sequence[Row]

    def markdown(self) -> str:
        """Return a section of a page."""
        lines = (self.columns, ("---",) * len(self.columns), *self.rows)
        return "\n".join(
            [f"## {self.title}", "", self.note, "", *(f"| {' | '.join(line)} |" for line in lines)]
        )

    def text(self) -> str:
        """Return what to print."""
        return "\n".join([f"== {self.title}", self.note, "", *self._aligned(), ""])

    def _aligned(self) -> Iterator[str]:
        lines = (self.columns, *self.rows)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            yield "  ".join(map(str.ljust, line, widths)).rstrip()
