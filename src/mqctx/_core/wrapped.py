"""The result of `wrap`: a callable in a context. Not a closure, so that it can be pickled."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from mqctx._core.reports import call_within, reports_under_way

if TYPE_CHECKING:
    from mqctx._core.context import Context

P = ParamSpec("P")
R = TypeVar("R")


class Wrapped(Generic[P, R]):
    """A function that runs inside a context, wherever it is called."""

    __wrapped__: Callable[P, R]

    def __init__(
        self,
        context: "Context",
        function: Callable[P, R],
        reports: frozenset[str] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._context = context
        # In another thread, too, it is a part of the reports in which it is wrapped.
        self._reports = reports_under_way() if reports is None else reports

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function inside the context."""
        if self._reports:
            run = self._context.run
            return run(call_within, self._reports, self.__wrapped__, *args, **kwargs)
        return self._context.run(self.__wrapped__, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        # The context drops its local values when it is pickled, not before.
        return type(self), (self._context, self.__wrapped__, self._reports)

    def __repr__(self) -> str:
        return f"<{self.__wrapped__!r} in {self._context!r}>"


async def _async_def(*args: Any, **kwargs: Any) -> Any: ...


class AsyncWrapped(Wrapped[P, R]):
    """The same for an `async def`: calling it gives a coroutine."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:  # type: ignore[override]  # the awaited kind of the same call
        """Call the function inside the context, and await what it returns."""
        return await cast("Any", super().__call__(*args, **kwargs))

    # `inspect` takes any object with all of these for a function, and by its code for an
    # `async def`. So do asyncio, asgiref, `unittest.mock` and schedulers, which ask `inspect`.
    __name__ = "AsyncWrapped"  # of a function that has no name of its own
    __code__ = _async_def.__code__
    __defaults__ = None
    __kwdefaults__ = None
