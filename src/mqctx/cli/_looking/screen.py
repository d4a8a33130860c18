"""Print for the commands: results to stdout, all else to stderr.

Results are kept in a file until nothing is held any more: a pager that waits for its reader would
hold the messages, too.
"""

import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, cast

import msgspec
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_WIDTH_OF_PIPES: Final = 120
_IN_MEMORY: Final = 4_000_000


class Results:
    """The results, which go to stdout at the end."""

    def __init__(self, *, plain: bool) -> None:
        stdout = sys.stdout
        self._spool = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - `close` closes it
        self._text = TextIOWrapper(
            cast("IO[bytes]", self._spool), encoding="utf-8", errors="backslashreplace"
        )
        is_terminal = stdout.isatty()
        self._is_plain = plain or not is_terminal
        self.width: Final = _width(is_terminal=is_terminal)
        self._console = Console(
            file=self._text,
            width=self.width,
            force_terminal=not self._is_plain,
            color_system=None if self._is_plain else "auto",
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
        )

    def print(self, renderable: RenderableType) -> None:
        """Add a table or the like."""
        # rich fills each line with spaces up to the width, which a copied line would keep.
        with self._console.capture() as captured:
            self._console.print(renderable)
        for line in captured.get().splitlines():
            self._text.write(line.rstrip() + "\n")

    def line(self, text: str, style: str) -> None:
        """Add a line, however long it is."""
        self._console.print(text, style=style, soft_wrap=True)

    def json(self, value: Any) -> None:
        """Add a line of JSON."""
        self._text.write(msgspec.json.encode(value).decode() + "\n")

    def show(self) -> None:
        """Write all to stdout."""
        self._text.flush()
        self._spool.seek(0)
        stdout = sys.stdout.buffer
        with suppress(BrokenPipeError):  # `| head` has what it wants
            shutil.copyfileobj(self._spool, stdout)
            stdout.flush()

    def close(self) -> None:
        """Forget all."""
        self._text.close()


def _width(*, is_terminal: bool) -> int:
    # A user's COLUMNS counts for pipes too, as it does for `ls` and `ps`.
    if columns := os.environ.get("COLUMNS", ""):
        with suppress(ValueError):
            return max(40, int(columns))
    return shutil.get_terminal_size().columns if is_terminal else _WIDTH_OF_PIPES


@contextmanager
def progress(what: str, total: int, *, plain: bool) -> Generator[Callable[[], None]]:
    """Show a bar on stderr, if that is a terminal, and give what moves it by one."""
    stderr = sys.stderr
    if not stderr.isatty():
        yield lambda: None
        return
    console = Console(file=stderr, no_color=plain, markup=False, emoji=False, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
