"""Calls that leave a run for the context variables around it, and may see its context meanwhile."""

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, TypeVar

from mqctx._core import isolation
from mqctx._core.context import Store, active_store, current, set_store

R = TypeVar("R")


class Surroundings:
    """The context variables that are current where this is made, before a run begins."""

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
        lent = Store(current(), has_linked=False)
        try:
            awaitable = snapshot.run(_call, lent, function, args)
            return await isolation.returned(awaitable, snapshot, function)
        finally:
            around = self._store
            lent.context, lent.active, lent.has_linked = around.context, around.active, True


def _call(store: Store, function: Callable[..., R], args: tuple[Any, ...]) -> R:
    set_store(store)
    return function(*args)
