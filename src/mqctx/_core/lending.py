"""Calls that leave a run for the context variables around it, and may see its context meanwhile."""

import contextvars
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, TypeVar, cast

import msgspec

from mqctx._core.context import EMPTY, Context
from mqctx._core.isolation import begin
from mqctx._core.store import Store, active_store, current, set_store

T = TypeVar("T")


class Surroundings(msgspec.Struct, eq=False):
    """The context variables around a run, kept before it begins."""

    store: Store
    variables: contextvars.Context

    @staticmethod
    def here() -> "Surroundings":
        """Return what is around."""
        return Surroundings(active_store().live, copy_context())

    async def lend_to(self, function: Callable[[T], Awaitable[object]], argument: T) -> None:
        """Await `function(argument)` in a copy of these variables, with the context lent to it.

        A callback or task that begins meanwhile copies the context variables, and may outlive the
        call. When that ends, they show nothing of the context any more.
        """
        snapshot = self.variables.copy()
        lent = _Lent()
        lent.around = None
        lent.shown = current()
        snapshot.run(set_store, cast("Store", lent))
        try:
            rest = begin(snapshot, snapshot.run(function, argument))
            if rest is not None:
                await rest
        finally:
            lent.around = self.store


class _Lent:
    """Stands for a store with a context that is lent, or later for the store that is around.

    Most servers do not look at it: it costs little to make.
    """

    around: Store | None
    shown: Context

    def __getattr__(self, name: str) -> Any:
        return getattr(self.live, name)

    @property
    def live(self) -> Store:
        """The store that it stands for at this moment."""
        return self.around or self._own

    @property
    def _own(self) -> Store:
        # Without linked ContextVars: those in the snapshot have the values from outside the run.
        own: Store = vars(self).setdefault("own", Store(self.shown, None, EMPTY, True, False))
        return own
