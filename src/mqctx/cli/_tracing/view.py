"""Show the journeys: live on a terminal, else line by line."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from mqctx.cli._looking.text import counted
from mqctx.cli._tracing.tree import tree
from mqctx.inspection._journeys._tracer import Status

__all__ = ["Json", "Screen", "View"]

Record = dict[str, Any]


class View(Protocol):
    """A view of a trace: shows it, or writes it to a file."""

    def journey(self, records: Sequence[Record]) -> None:
        """Take a journey, or more of one."""
        ...

    def status(self, status: Status) -> None:
        """Take the status."""
        ...

    def finish(self, summary: Record) -> None:
        """Take the summary, as the last."""
        ...


class Json:
    """One JSON object a line, on stdout."""

    def __init__(self, write: Any) -> None:
        self._write = write

    def journey(self, records: Sequence[Record]) -> None:
        """Print its events."""
        self._write(msgspec.json.Encoder().encode_lines(records).decode())

    def status(self, status: Status) -> None:
        """Print nothing."""

    def finish(self, summary: Record) -> None:
        """Print the summary."""
        self.journey([summary])


class Screen:
    """Trees on stdout; on a terminal, with the progress below them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        if console.is_terminal:
            self._live.start()

    def journey(self, records: Sequence[Record]) -> None:
        """Print its tree."""
        # Not broken at the width of the terminal: in a pipe, and for a search, a line is a line.
        for line in tree(records):
            self._console.print(line, soft_wrap=True)

    def status(self, status: Status) -> None:
        """Show its progress."""
        self._live.update(Text(_status_line(status), style="reverse"))

    def finish(self, summary: Record) -> None:
        """Print the summary."""
        self._live.stop()  # takes the status away, which would stand above the summary
        self._console.print(_summary_line(summary), style="bold", soft_wrap=True)


def _status_line(status: Status) -> str:
    lost = "?" if status.dropped is None else f"{status.dropped:,}"
    events, behind = (counted(n, "event") for n in (status.events, status.waiting))
    return (
        f" {status.seconds:,.0f} s   {events}   {counted(status.running, 'journey')} under way   "
        f"{behind} behind   {lost} dropped   Ctrl-C ends "
    )


_COUNTED: Final = {
    "journeys": "journey",
    "publishes": "publish",
    "deliveries": "delivery",
    "dead_letters": "dead letter",
    "runs": "run",
}


def _summary_line(summary: Record) -> str:
    parts = [
        counted(summary[name], one, name.replace("_", " "))
        for name, one in _COUNTED.items()
        if summary[name]
    ]
    line = ", ".join(parts) or "no messages"
    notes = [f"{summary['inferred']:,} inferred", f"{summary['without_context']:,} without context"]
    lost = summary["dropped"]
    notes.append("events were dropped" if lost is None else f"{counted(lost, 'event')} dropped")
    if summary["untraced_nodes"]:
        notes.append(f"not traced: {', '.join(summary['untraced_nodes'])}")
    return f"{line} in {summary['seconds']:,.1f} s ({'; '.join(notes)})"
