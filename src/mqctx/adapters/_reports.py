"""Report the runs of handlers to `mqctx trace`: no handler waits for it, or fails of it.

A broker cannot tell when a handler began, how it ended, and what it published.
"""

import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from types import CoroutineType
from typing import Any, Final, TypeAlias, cast

import msgspec

from mqctx._core.context import Context
from mqctx._core.identity import function_name
from mqctx._core.runs import Run, active_run
from mqctx._core.values import type_name
from mqctx.adapters._reporter import Ended, Origin, reporter

__all__ = ["OriginOf", "with_report"]

_CANCELLED: Final = ("CancelledError", "Cancelled", "GeneratorExit")
OriginOf: TypeAlias = Callable[[Any, tuple[Any, ...]], Origin]
"""Tells where a message came from, given the other arguments of its handler. May raise anything."""


class _Begun(msgspec.Struct):
    """A run that is under way."""

    run: Run
    handler: str
    context: Context
    exchange: str
    origin: Origin
    began_at: datetime
    began: float

    def end(self, error: BaseException | None) -> None:
        """Report how it ended."""
        kind = self.run.failed if error is None else type(error)
        reporter.add(
            Ended(
                origin=self.origin,
                exchange=self.exchange,
                context=self.context,
                handler=self.handler,
                outcome=_outcome_of(kind),
                error=None if kind is None else type_name(kind),
                began_at=self.began_at.isoformat().replace("+00:00", "Z"),
                duration=round(time.perf_counter() - self.began, 6),
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


def with_report(
    function: Callable[..., Any],
    exchange: str,
    origin_of: OriginOf,
    message: Any,
    arguments: tuple[Any, ...],
    context: Context,
) -> Callable[..., Any]:
    """Return `function` with a report of its call, which has a snapshot of its own.

    Where it cannot be told where the message came from, `function` is returned as it is.
    """
    with suppress(Exception):
        origin = origin_of(message, arguments)
        run = Run()
        active_run.set(run)  # never reset: the handler's call has a snapshot of its own
        handler = function_name(function)
        # Two clocks: the time of day may be set meanwhile, and says nothing of how long it took.
        now = datetime.now(UTC)
        begun = _Begun(run, handler, context, exchange, origin, now, time.perf_counter())
        return _reported(function, begun)
    return function


def _reported(function: Callable[..., Any], begun: _Begun) -> Callable[..., Any]:
    def reported(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            begun.end(error)
            raise
        if isinstance(result, CoroutineType):
            return _awaited(cast("Coroutine[Any, Any, Any]", result), begun)
        begun.end(None)
        return result

    return reported


async def _awaited(coroutine: Coroutine[Any, Any, Any], begun: _Begun) -> Any:
    try:
        result = await coroutine
    except BaseException as error:
        begun.end(error)
        raise
    begun.end(None)
    return result
