"""Show the story as log lines, each with the context that was active when it was logged.

No log call mentions a request: the last three columns come from a logging filter, as they can
in any service that uses mqctx.
"""

import logging
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Final

import click

import mqctx
from mqctx.cli._demo.check import Verdict
from mqctx.cli._demo.journal import log

_LINE: Final = (
    "{ms:>4}  {service:<8}  {client:<8}  {message:<25}  {request_id:<10}  {user:<5}  {tenant}"
)
_FROM_CONTEXT: Final = ("request_id", "user", "tenant")
_TITLES: Final = {
    **{name: name for name in ("ms", "service", "client", *_FROM_CONTEXT)},
    "message": "what happens",
}
_COLOURS: Final = {"r-1": "cyan", "r-2": "magenta"}


def echo(text: str = "", **style: Any) -> None:
    """Print a line, in colour on a terminal, unless NO_COLOR is set (see no-color.org)."""
    click.secho(text, color=False if os.environ.get("NO_COLOR") else None, **style)


@contextmanager
def story_lines(header: str, of: str = "mqctx") -> Generator[None, None, None]:
    """Print a header, then the log lines of the logger `of` while the block lasts."""
    say(header)
    say(_LINE.format(**_TITLES), bold=True)
    log.setLevel(logging.INFO)
    # The clients log a broken connection that the error they raise tells of anyway.
    with _handled(of, _Screen()), _handled(None, logging.NullHandler()):
        yield


def show(verdict: Verdict) -> None:
    """Print the outcome."""
    echo(f"{verdict.summary}.", bold=True, fg="red" if verdict.problems else "green")
    for problem in verdict.problems:
        echo(f"wrong: {problem}", fg="red")


def say(text: str = "", **style: Any) -> None:
    """Print a line while the demo is under way."""
    # A reader that has left (`| head`) must not end the story before its queues are deleted.
    with suppress(BrokenPipeError):
        echo(text, **style)


@contextmanager
def _handled(logger_name: str | None, handler: logging.Handler) -> Generator[None, None, None]:
    logger = logging.getLogger(logger_name)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _ContextColumns(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        context = mqctx.current()
        for name in _FROM_CONTEXT:
            setattr(record, name, context.get(name, "-"))
        return True


class _Screen(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.addFilter(_ContextColumns())
        # mqctx itself may have to report a rejection.
        by_mqctx = {"service": "mqctx", "client": "-"}
        self.setFormatter(logging.Formatter(_LINE, style="{", defaults=by_mqctx))
        self._started = time.time()

    def emit(self, record: logging.LogRecord) -> None:
        fields = record.__dict__
        fields["ms"] = f"{(record.created - self._started) * 1000:.0f}"
        say(self.format(record), fg=_COLOURS.get(fields["request_id"]))
