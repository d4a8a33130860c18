"""What is active: the store of the innermost run or scope, and what is bound there.

One `ContextVar` holds it, and it holds the immutable `Context`. So whoever copied the context
variables of a run (its tasks, its threads) shares the store, and sees what `bind` adds.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import msgspec

from mqctx._core import linked_vars
from mqctx._core.isolation import Arguments, KeywordArguments
from mqctx._core.registry import registry

if TYPE_CHECKING:
    from mqctx._core.context import Context

R = TypeVar("R")


class Version(msgspec.Struct, dict=True, eq=False):
    """The context of a run, until something is bound."""

    context: "Context"
    later: ClassVar["Version | None"] = None
    """The version that took its place. Set in `__dict__`, where one step tells who came first."""


class Store(Version, eq=False):
    """What is active in one run or scope: its context, as it began, and what was bound since.

    A Struct, since one is made for each message; one that the garbage collector follows, since a
    local value may refer to it.
    """

    headers: object
    """Those of the message that is being handled."""
    restored: "Context"
    """What was extracted from `headers`."""
    active: bool = True
    """False outside every run and scope, where there is nothing to add to."""
    has_linked: bool = True
    """Whether the linked ContextVars beside it are its own."""

    @property
    def live(self) -> "Store":
        """Itself; what stands in place of a store has here the one that it stands for."""
        return self

    def now(self) -> "Context":
        """Return the context with what was bound, and with what linked ContextVars hold."""
        context = self._last().context
        if registry.linked and self.has_linked:
            return context.captured(self._given())
        return context

    def show(self, around: "Store") -> None:
        """Be like another store from now on, for whoever still has this one."""
        if self.later is not None:
            del vars(self)["later"]
        self.context = around._last().context
        self.active = around.active
        self.has_linked = True

    def bind(self, added: "Context") -> None:
        """Add values, for all that share this store.

        Never waits for another thread, nor for what a signal handler interrupted, nor for threads
        that a fork left behind: of two that follow a version one is first, the other follows it.
        """
        version = self._last()
        while True:
            mine = Version(version.context | added)
            first = vars(version).setdefault("later", mine)
            if first is mine:
                break
            version = first
        vars(self)["later"] = mine  # all others lead there, or lead on from there
        if registry.linked:
            linked_vars.set_bound(added)
            _given.set((self, {**self._given(), **added}))

    def _last(self) -> Version:
        version: Version = self
        while (later := version.later) is not None:
            version = later
        return version

    def _given(self) -> Mapping[str, Any]:
        """Return what linked ContextVars were given here: as the run began, or by `bind`.

        What `bind` was given elsewhere, in a thread or a task, is not in the ones of this snapshot.
        """
        bound = _given.get()
        return bound[1] if bound is not None and bound[0] is self else self.context


_given: ContextVar[tuple[Store, Mapping[str, Any]] | None] = ContextVar("mqctx.given", default=None)
"""What the linked ContextVars of this snapshot were given in a run, if anything was bound here."""

_NO_CONTEXT = cast("Context", None)
OUTSIDE = Store(_NO_CONTEXT, None, _NO_CONTEXT, active=False)
"""The store where no run is active. The module of `Context` gives it the empty one."""
_store: ContextVar[Store] = ContextVar("mqctx", default=OUTSIDE)
active_store = _store.get
"""Returns the store of the innermost run or scope: for what is done for each message."""
set_store = _store.set


def call_inside(
    store: Store, function: Callable[..., R], args: Arguments, kwargs: KeywordArguments
) -> R:
    """Call `function` with `store` active, which it stays: in a snapshot of its own."""
    set_store(store)
    if registry.linked:
        linked_vars.set_to(store.context)
    return function(*args, **kwargs) if kwargs else function(*args)


def current() -> "Context":
    """Return the active context: the empty one outside every run and scope, never None."""
    store = _store.get()
    return store.context if store.later is None and not registry.linked else store.now()


def restored_here(headers: object) -> "Context | None":
    """Return the context that was extracted from these very `headers` for the run under way.

    So a handler that is decorated, and hooked too, extracts once.
    """
    store = _store.get()
    return store.restored if store.headers is headers and headers is not None else None
