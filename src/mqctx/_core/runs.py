"""The run of a handler that is to be reported: what it publishes is noted here."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from mqctx._core.identity import function_name

__all__ = ["Run", "active_run", "note_failed", "note_handler", "note_published"]

_MOST_PUBLISHED: Final = 100


class Run(msgspec.Struct, eq=False):
    """The run of a handler, while it lasts."""

    handler: str
    message: object = None
    """An object that only the message under way has, such as its headers."""
    published: list[str] = []
    """The spans of what it published, as far as `TraceContextFormat` gives them."""
    failed: type[BaseException] | None = None
    """The class of what the handler raised, if whoever settles its message swallows that."""


active_run: ContextVar[Run | None] = ContextVar("mqctx.run", default=None)
"""The innermost run that is reported. Tasks and threads of the handler have it, too."""


def note_published(headers: Mapping[str, Any]) -> None:
    """Note a message that is published in the run that is under way."""
    run = active_run.get()
    if run is not None and len(run.published) < _MOST_PUBLISHED:
        # version-trace-span-flags, and more in later versions (W3C Trace Context 3.2).
        parts = str(headers.get("traceparent", "")).split("-")
        if len(parts) >= 4:
            run.published.append(parts[2])


def note_handler(function: Callable[..., object]) -> None:
    """Note which function does the work, where it is called by one of the client's own."""
    run = active_run.get()
    if run is not None:
        run.handler = function_name(function)


def note_failed(error: BaseException | None) -> None:
    """Note what the handler has raised, where that goes no further: its message was settled."""
    run = active_run.get()
    if run is not None:
        run.failed = None if error is None else type(error)
