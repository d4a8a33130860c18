"""A `with` block inside a context."""

from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

import msgspec

import mqctx._core.context  # noqa: TC001 - help() reads it; not `from` it, as it imports this module
from mqctx._core import isolation
from mqctx._core.isolation import Arguments, KeywordArguments
from mqctx._core.registry import registry
from mqctx._core.store import (
    OUTSIDE,
    Store,
    active_store,
    call_inside,
    current,
    set_store,
    store_variable,
)
from mqctx.errors import ScopeError

if TYPE_CHECKING:
    from mqctx._core.context import Context

P = ParamSpec("P")
R = TypeVar("R")
_Setting: TypeAlias = tuple[ContextVar[Any], Token[Any], Any, object]
"""A variable that was set, its token, its value, and the one that stands for none."""


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
    _settings: list[_Setting] = []

    def __enter__(self) -> "Context":
        settings = self._settings
        if settings:
            raise ScopeError("this scope is in use; call scope(...) anew for each `with` block")
        context, around = self.context, active_store()
        if not self.exact and (around is not OUTSIDE or registry.links):
            now = around.now()
            context = now | context if now.by_name else context
        if self.headers is None:
            store = Store(context, around.headers, around.restored, True)
        else:
            store = Store(context, self.headers, context, True)
        settings.append((store_variable, set_store(store), store, OUTSIDE))
        for name, variable, absent in registry.links:
            value = context.by_name.get(name, absent)
            settings.append((variable, variable.set(value), value, absent))
        return context

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        settings = self._settings
        while settings:  # from the last one on: two names may be linked to one ContextVar
            variable, token, value, absent = settings.pop()
            try:
                variable.reset(token)
            except ValueError:
                _reset_copied(token, value, absent)
            if absent is OUTSIDE:
                value.held = False

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with each call inside the context, as it is at the call."""

        def inside(function: Callable[..., R], args: Arguments, kwargs: KeywordArguments) -> R:
            context = self.context if self.exact else current() | self.context
            return call_inside(active_store().inside(context), function, args, kwargs)

        return isolation.decorate(function, inside)

    def __repr__(self) -> str:
        return f"<Scope of {'exactly ' if self.exact else ''}{self.context!r}>"


def _reset_copied(token: Token[Any], value: object, absent: object) -> None:
    """Undo a setting in a snapshot that is not its own, if it was copied there."""
    # A generator, or a framework, entered and left the scope in two snapshots. If the value was
    # copied along, it ends here; any other value in this snapshot is not ours.
    if token.var.get(absent) is value:
        missing = token.old_value is Token.MISSING
        token.var.set(absent if missing else token.old_value)
