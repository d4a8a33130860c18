"""Calls that leave a run for the context variables around it, and may see its context meanwhile."""

import contextvars
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, ClassVar, TypeVar, cast

import msgspec

from mqctx._core.context import EMPTY
from mqctx._core.isolation import first_step, rest
from mqctx._core.registry import registry
from mqctx._core.store import Store, active_store, last_version, set_store

T = TypeVar("T")
_set_store = cast("Callable[[_Lent], object]", set_store)


class Surroundings(msgspec.Struct, eq=False):
    """The context variables around a run, kept before it begins."""

    store: Store
    variables: contextvars.Context

    def lend_to(
        self, function: Callable[[T], Awaitable[object]], argument: T
    ) -> Awaitable[None] | None:
        """Call `function(argument)` in a copy of these variables, with the context lent to it.

        Return what is left to await, None if it has ended. A callback or task that begins meanwhile
        copies the context variables, and may outlive the call. When that ends, they show nothing of
        the context any more.
        """
        run = copy_context() if registry.linked else None
        snapshot, lent, begun = (
            self.variables.copy(),
            _Lent(self.store, (active_store(), run)),
            None,
        )
        try:
            begun = snapshot.run(first_step, _set_store, lent, function, argument)
        finally:
            if begun is None:
                lent.lends = None
        return None if begun is None else self._end(rest(snapshot, begun), lent)

    async def _end(self, left: Awaitable[object], lent: "_Lent") -> None:
        try:
            await left
        finally:
            lent.lends = None


class _Lent(msgspec.Struct, dict=True, eq=False):
    """Stands for a store with a context that is lent, or later for the store that is around.

    Most servers do not look at it: it costs little to make.
    """

    around: Store
    lends: tuple[Store, contextvars.Context | None] | None
    """The store of the run, and its context variables if linked ones are among them, until the end.

    Both go then, whoever keeps this.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(self.live, name)

    @property
    def live(self) -> Store:
        """The store that it stands for at this moment."""
        lends = self.lends
        return self._own(*lends) if lends else self.around

    def _own(self, inside: Store, run: contextvars.Context | None) -> Store:
        shown = last_version(inside).context if run is None else run.copy().run(inside.now)
        own: Store = vars(self).setdefault("own", _Shown(shown, None, EMPTY))
        return own


class _Shown(Store, eq=False):
    """The store of a lent context. Linked ContextVars beside it are of outside the run."""

    has_linked: ClassVar[bool] = False
