"""A `with` block inside a context."""

from collections.abc import Callable
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

import msgspec

import mqctx._core.context  # noqa: TC001 - help() reads it; not `from` it, as it imports this module
from mqctx._core import isolation, linked_vars
from mqctx._core.isolation import Arguments, KeywordArguments
from mqctx._core.registry import registry
from mqctx._core.store import (
    OUTSIDE,
    Store,
    active_store,
    call_inside,
    current,
    reset_store,
    set_store,
)
from mqctx.errors import ScopeError

if TYPE_CHECKING:
    from mqctx._core.context import Context

P = ParamSpec("P")
R = TypeVar("R")
_Setting: TypeAlias = tuple[Token[Any], Any, object]
"""The token of a setting, the value that was set, and the one that stands for none."""


class Scope(msgspec.Struct, eq=False):
    """A `with` block, or a decorator, inside a context.

    An object is in use by one `with` block at a time; take a new one for each.

    Args:
        context: The context inside.
        exact: Whether it is added to the one outside, or replaces it.
        headers: The headers that the context was extracted from.
    """

    context: "mqctx._core.context.Context"
    exact: bool = False
    headers: object = None
    _entered: tuple[Token[Store], Store, list[_Setting]] | None = None

    def __enter__(self) -> "Context":
        if self._entered is not None:
            raise ScopeError("this scope is in use; call scope(...) anew for each `with` block")
        context, around = self.context, active_store()
        if not self.exact and (around is not OUTSIDE or registry.linked):
            context = self._added_to(around.now())
        if self.headers is None:
            store = Store(context, around.headers, around.restored, True, True, True)
        else:
            store = Store(context, self.headers, context, True, True, True)
        others: list[_Setting] = []
        self._entered = set_store(store), store, others
        if registry.linked:
            for other, value in linked_vars.assignments(context.by_name):
                others.append((other.contextvar.set(value), value, other.absent))
        return context

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entered, self._entered = self._entered, None
        if entered is None:
            return
        token, store, others = entered
        for setting in reversed(others):  # two names may be linked to one ContextVar
            _reset(*setting)
        try:
            reset_store(token)
        except ValueError:
            _reset_copied(token, store, OUTSIDE)
        store.held = False

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with each call inside the context, as it is at the call."""

        def inside(function: Callable[..., R], args: Arguments, kwargs: KeywordArguments) -> R:
            context = self.context if self.exact else self._added_to(current())
            return call_inside(active_store().inside(context), function, args, kwargs)

        return isolation.decorate(function, inside)

    def __repr__(self) -> str:
        return f"<Scope of {'exactly ' if self.exact else ''}{self.context!r}>"

    def _added_to(self, around: "Context") -> "Context":
        # With nothing to add to, the context itself: it keeps what it was encoded to.
        return self.context if around is OUTSIDE.context else around | self.context


def _reset(token: Token[Any], value: object, absent: object) -> None:
    """Undo a setting exactly; in a snapshot that is not its own, only if it was copied there."""
    try:
        token.var.reset(token)
    except ValueError:
        _reset_copied(token, value, absent)


def _reset_copied(token: Token[Any], value: object, absent: object) -> None:
    # A generator, or a framework, entered and left the scope in two snapshots. If the value was
    # copied along, it ends here; any other value in this snapshot is not ours.
    if token.var.get(absent) is value:
        missing = token.old_value is Token.MISSING
        token.var.set(absent if missing else token.old_value)
