"""Report the runs of handlers to `mqctx trace`: no handler waits for it, or fails of it.

A broker cannot tell when a handler began, how it ended, and what it published.
"""

import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import CoroutineType, TracebackType
from typing import Any, Final, TypeAlias, cast

import msgspec

from mqctx._core.context import Context
from mqctx._core.identity import function_name
from mqctx._core.registry import registry
from mqctx._core.runs import Run, active_run
from mqctx._core.scope import Scope
from mqctx._core.values import type_name
from mqctx.adapters._reporter import Ended, Origin, reporter

__all__ = [
    "Begun",
    "OriginNow",
    "OriginOf",
    "begin",
    "block_scope",
    "flush_reports",
    "name_of_caller",
    "reported",
    "with_report",
]

_ADAPTERS: Final = f"{__package__}."
_CANCELLED: Final = ("CancelledError", "Cancelled", "GeneratorExit")
OriginOf: TypeAlias = Callable[[Any, tuple[Any, ...]], Origin]
"""Tells where a message came from, given the other arguments of its handler. May raise anything."""
OriginNow: TypeAlias = Callable[[], Origin]
"""Tells where the message at hand came from. May raise anything."""


class Begun(msgspec.Struct):
    """A run that is under way."""

    run: Run
    context: Context
    exchange: str
    origin: Origin
    began_at: datetime
    began: float
    duration: float | None = None

    def stop(self) -> None:
        """Note that it is over; `end` may be called later."""
        if self.duration is None:
            self.duration = round(time.perf_counter() - self.began, 6)

    def end(self, error: BaseException | None) -> None:
        """Report how it ended."""
        self.stop()
        kind = self.run.failed if error is None else type(error)
        reporter.add(
            Ended(
                origin=self.origin,
                exchange=self.exchange,
                context=self.context,
                handler=self.run.handler,
                outcome=_outcome_of(kind),
                error=None if kind is None else type_name(kind),
                began_at=self.began_at.isoformat().replace("+00:00", "Z"),
                duration=self.duration or 0.0,
                published=self.run.published,
            )
        )


def _outcome_of(kind: type[BaseException] | None) -> str:
    """Return how a run ended that raised an exception of this class, None for none."""
    if kind is None:
        return "returned"
    # By its name: asyncio is not loaded for it.
    is_cancelled = kind.__name__ in _CANCELLED and not issubclass(kind, Exception)
    return "cancelled" if is_cancelled else "raised"


def begin(
    origin: OriginNow, message: object, context: Context, handler: str, *, ago: float = 0.0
) -> Begun | None:
    """Begin a run, `ago` seconds before; its `run` is to be made the active one.

    None where no run is reported: nobody asked for it, it cannot be told where the message came
    from, no broker delivered it, or a run of this message is under way. `message` is an object that
    only this one has.
    """
    under_way = active_run.get()
    if registry.report is None or (
        message is not None and under_way is not None and under_way.message is message
    ):
        return None
    with suppress(Exception):
        came_from = origin()
        # No queue has an empty name: a test made this message up, as `mqctx.testing` does.
        if came_from.exchange or came_from.routing_key:
            # Two clocks: the time of day may be set meanwhile, and says nothing of durations.
            return Begun(
                Run(handler, message),
                context,
                registry.report,
                came_from,
                datetime.now(UTC) - timedelta(seconds=ago),
                time.perf_counter() - ago,
            )
    return None


def with_report(
    function: Callable[..., Any],
    origin: OriginNow,
    message: object,
    context: Context,
    name: str | None = None,
) -> Callable[..., Any]:
    """Return `function` with a report of its call, which has a snapshot of its own.

    If no run is to be reported, return `function` as it is.
    """
    begun = begin(origin, message, context, name or function_name(function))
    if begun is None:
        return function
    active_run.set(begun.run)  # never reset: the handler's call has a snapshot of its own
    return reported(function, begun)


def _nothing(_result: Any) -> None:
    return None


def _no_error(_error: BaseException) -> bool:
    return False


def reported(
    function: Callable[..., Any],
    begun: Begun,
    raised: Callable[[Any], BaseException | None] = _nothing,
    is_others: Callable[[BaseException], bool] = _no_error,
) -> Callable[..., Any]:
    """Return `function` with a report of its call.

    `raised` tells what a result stands for, and `is_others` of which errors others tell.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            if not is_others(error):
                begun.end(error)
            raise
        if isinstance(result, CoroutineType):
            return _awaited(cast("Coroutine[Any, Any, Any]", result), begun)
        begun.end(raised(result))
        return result

    return call


async def _awaited(coroutine: Coroutine[Any, Any, Any], begun: Begun) -> Any:
    try:
        result = await coroutine
    except BaseException as error:
        begun.end(error)
        raise
    begun.end(None)
    return result


class _ReportedScope(Scope, eq=False, kw_only=True):
    """A `with` block inside a context whose run is reported."""

    origin: OriginNow
    frameworks_name: str | None
    begun: Begun | None = None

    def __enter__(self) -> Context:
        context = super().__enter__()
        name = self.frameworks_name or name_of_caller()
        self.begun = begin(self.origin, self.headers, context, name)
        if self.begun is not None:
            run = self.begun.run
            self._settings.append((active_run, active_run.set(run), run, None))
        elif (around := self._around()) is not None:
            around.handler = name
        return context

    def _around(self) -> Run | None:
        """Return the run of the client's own callback, below which a framework works."""
        around = active_run.get()
        is_its = around is not None and around.message is self.headers
        return around if is_its and self.frameworks_name else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        begun, self.begun = self.begun, None
        if begun is not None:
            begun.end(error)
        elif error is not None and (around := self._around()) is not None:
            around.failed = type(error)  # the framework may well keep it


def block_scope(
    context: Context, headers: object, origin: OriginNow, frameworks_name: str | None = None
) -> Scope:
    """Return a `with` block inside exactly this context, whose run is reported.

    A framework has a name for what it calls in there; else it is the function with the block.
    """
    return _ReportedScope(context, True, headers, origin=origin, frameworks_name=frameworks_name)


def name_of_caller() -> str:
    """Return the name of the function that has called the adapter: the one with the block."""
    frame: Any = sys._getframe()  # pyright: ignore[reportPrivateUsage]  # `inspect` reads all frames
    while (module := str(frame.f_globals.get("__name__"))).startswith(_ADAPTERS):
        frame = frame.f_back
    return f"{module}.{frame.f_code.co_qualname}"


def flush_reports() -> None:
    """Wait until what is reported is sent, for a second at most: for a process that is to end."""
    reporter.flush()
