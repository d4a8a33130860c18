"""Calls that leave a run for the context variables around it, and may see its context meanwhile."""

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from types import CoroutineType
from typing import Any, Final, TypeVar

from mqctx._core import isolation
from mqctx._core.context import EMPTY
from mqctx._core.store import Store, active_store, current, set_store

R = TypeVar("R")

_NOT_BEGUN: Final = object()


class Surroundings:
    """The context variables around a run, kept before it begins."""

    __slots__ = ("_store", "_variables")

    def __init__(self) -> None:
        self._store = active_store()
        self._variables = copy_context()

    async def lend_to(self, function: Callable[..., Awaitable[R]], *args: object) -> R:
        """Await `function(*args)` in a copy of these variables, with the active context lent to it.

        A callback or task that begins meanwhile copies the context variables, and may outlive the
        call. When that ends, they show nothing of the context any more.
        """
        snapshot = self._variables.copy()
        # Without linked ContextVars: those in the snapshot have the values from outside the run.
        lent = Store(current(), None, EMPTY, True, False)
        try:
            # Mostly there is no second step, and then no coroutine is needed around it.
            awaitable, awaited = snapshot.run(_begin, lent, function, args)
            if awaited is _NOT_BEGUN:
                return await awaitable  # type: ignore[no-any-return]  # what `function` promises
            return await _further_steps(snapshot, awaitable, awaited)
        except StopIteration as finished:
            return finished.value  # type: ignore[no-any-return]  # the coroutine's own result
        finally:
            lent.show(self._store.live)


def _further_steps(
    snapshot: Context, coroutine: Coroutine[Any, Any, R], awaited: object
) -> Awaitable[R]:
    return isolation.in_steps(snapshot, coroutine, lambda _: awaited)


def _begin(store: Store, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, object]:
    """Call a function, take the first step of the coroutine that it returns, and return both."""
    set_store(store)
    awaitable = function(*args)
    return awaitable, _first_step(awaitable)


def _first_step(awaitable: object) -> object:
    if type(awaitable) is CoroutineType or isinstance(awaitable, Coroutine):
        return awaitable.send(None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # anybody's
    return _NOT_BEGUN
