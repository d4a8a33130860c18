"""The store of the innermost run or scope: the active context, with the values that `bind` added.

One `ContextVar` holds it, and it holds the immutable `Context`. So the tasks and threads of a run,
which have copies of its context variables, share the store, and see the values that `bind` adds.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

import msgspec

from mqctx._core import linked_vars
from mqctx._core.isolation import Arguments, KeywordArguments
from mqctx._core.registry import registry

if TYPE_CHECKING:
    from mqctx._core.context import Context

R = TypeVar("R")


class Version(msgspec.Struct, dict=True, eq=False, kw_only=True):
    """The context of a run, until something is bound."""

    context: "Context"
    later: "Version | None" = None
    """The version that took its place, or one that did so after that.

    In `__dict__` too, where one step tells who came first, but which takes longer to read.
    """
    replaced: ClassVar[Mapping[str, tuple[object]]] = {}
    """The values that libraries had set in linked ContextVars before `bind` replaced them."""


def last_version(version: Version) -> Version:
    """Return the version that took the place of all others."""
    while (later := version.later) is not None:
        version = later
    return version


class Store(Version, eq=False):
    """The store of one run or scope: its context, as it began, and the versions bound since.

    A Struct, since one is made for each message; one that the garbage collector follows, since a
    local value may refer to it.
    """

    context: "Context"
    headers: object
    """The headers of the message that is being handled."""
    restored: "Context"
    """The context that was extracted from `headers`."""
    held: bool = False
    """Whether it belongs to a `with` block that has not ended."""
    has_linked: ClassVar[bool] = True
    """Whether the linked ContextVars beside it are its own."""

    @property
    def active(self) -> bool:
        """Whether it is one of a run or scope: outside all, there is nothing to add to."""
        return self is not OUTSIDE

    @property
    def live(self) -> "Store":
        """The store itself; a stand-in returns the store that it stands for."""
        return self

    def inside(self, context: "Context") -> "Store":
        """Return a store for a run of `context` inside this one, for the same message."""
        return Store(context, self.headers, self.restored)

    def now(self) -> "Context":
        """Return the context with the values bound since, and those of linked ContextVars."""
        last = last_version(self) if self.later else self
        if registry.links and self.has_linked:
            values = last.context.by_name
            # As mostly, they hold what the context has: then it does not matter since when.
            for name, contextvar, absent in registry.links:
                if contextvar.get(absent) is not values.get(name, absent):
                    return self._captured(last)
        return last.context

    def _captured(self, last: Version) -> "Context":
        """Return the context with the values that linked ContextVars were set to since."""
        given, undone = self._given()
        held = linked_vars.held(given)
        # Those that were replaced by a `bind` elsewhere are older than this context.
        for name, old in last.replaced.items():
            if old is not undone.get(name) and held.get(name, old) is old[0]:
                del held[name]
        return last.context.with_held(held)

    def bind(self, added: "Context") -> None:
        """Add values, for all that share this store.

        Never waits for another thread, for code that a signal handler interrupted, or for threads
        that a fork left behind: if two follow a version, one is first, and the other follows that.
        """
        names = added.by_name
        if registry.linked.keys().isdisjoint(names):
            self._follow(added)
            return
        given, undone = self._given()
        held = linked_vars.held(given)
        mine = self._follow(added, {name: (held[name],) for name in held.keys() & names.keys()})
        linked_vars.set_bound(names)
        here = {name: mine.replaced[name] for name in mine.replaced.keys() & names.keys()}
        _given.set((self, {**given, **names}, {**undone, **here}))

    def _follow(
        self, added: "Context", replaced: Mapping[str, tuple[object]] = MappingProxyType({})
    ) -> Version:
        version = last_version(self)
        while True:
            mine = Version(context=version.context | added)
            if replaced or version.replaced:
                vars(mine)["replaced"] = {**version.replaced, **replaced}
            first: Version = vars(version).setdefault("later", mine)
            version.later = first
            if first is mine:
                break
            version = first
        vars(self)["later"] = self.later = mine  # all others lead there, or on from there
        return mine

    def _given(self) -> tuple[Mapping[str, object], Mapping[str, tuple[object]]]:
        """Return the values that linked ContextVars got here, and those replaced here by then.

        They got them as the run began, or by `bind`. A `bind` elsewhere, in a thread or a task, did
        not set those of this snapshot.
        """
        bound = _given.get()
        return bound[1:] if bound is not None and bound[0] is self else (self.context.by_name, {})


_given: ContextVar[tuple[Store, Mapping[str, object], Mapping[str, tuple[object]]] | None]
_given = ContextVar("mqctx.given", default=None)
"""The store whose `bind` was called in this snapshot, and what its `_given` returns here."""

_NO_CONTEXT = cast("Context", None)
OUTSIDE = Store(_NO_CONTEXT, None, _NO_CONTEXT)
"""The store outside every run. The module of `Context` gives it the empty one."""
store_variable: ContextVar[Store] = ContextVar("mqctx", default=OUTSIDE)
active_store = store_variable.get
"""Returns the store of the innermost run or scope."""
set_store = store_variable.set


def enter(store: Store) -> None:
    """Make `store` the active one, in a snapshot of its own."""
    set_store(store)
    if registry.linked:
        linked_vars.set_to(store.context.by_name)


def call_inside(
    store: Store, function: Callable[..., R], args: Arguments, kwargs: KeywordArguments
) -> R:
    """Call `function` with `store` active. It stays active: call this in a snapshot of its own."""
    set_store(store)
    if registry.links:
        linked_vars.set_to(store.context.by_name)
    # Mostly by position: to pass on an empty `**kwargs` makes a dict for each message.
    return function(*args, **kwargs) if kwargs else function(*args)


def current() -> "Context":
    """Return the active context: the empty one outside every run and scope, never None."""
    store = active_store()
    return store.context if store.later is None and not registry.linked else store.now()


def restored_here(headers: object) -> "Context | None":
    """Return the context that the run under way has extracted from these very `headers`, if any.

    A handler that is decorated, and hooked too, extracts only once.
    """
    store = active_store()
    return store.restored if store.headers is headers and headers is not None else None
