"""A `with` block inside a context."""

from collections.abc import Callable
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from mqctx._core import isolation, linked_vars
from mqctx._core.isolation import Arguments, KeywordArguments
from mqctx._core.registry import registry
from mqctx._core.store import OUTSIDE, Store, active_store, call_inside, current, set_store
from mqctx.errors import ScopeError

if TYPE_CHECKING:
    from mqctx._core.context import Context

P = ParamSpec("P")
R = TypeVar("R")
_Setting: TypeAlias = tuple[Token[Any], Any, object]
"""The token of a setting, the value that was set, and the one that stands for none."""


class Scope:
    """A `with` block, or a decorator, inside a context.

    An object is in use by one `with` block at a time; take a new one for each.

    Args:
        context: The context inside.
        exact: Whether it is added to the one outside, or replaces it.
        headers: The headers that the context was extracted from.
    """

    __slots__ = ("_context", "_entered", "_exact", "_headers")

    def __init__(self, context: "Context", *, exact: bool = False, headers: object = None) -> None:
        self._context = context
        self._exact = exact
        self._headers = headers
        self._entered: list[_Setting] = []

    def __enter__(self) -> "Context":
        if self._entered:
            raise ScopeError("this scope is in use; call scope(...) anew for each `with` block")
        context = self._chosen()
        if self._headers is None:
            store = active_store().inside(context)
        else:
            store = Store(context, self._headers, context)
        store.held = True
        self._entered = [(set_store(store), store, OUTSIDE)]
        if registry.linked:
            for other, value in linked_vars.assignments(context):
                self._entered.append((other.contextvar.set(value), value, other.absent))
        return context

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Emptied first, and undone from the end: two names may be linked to one ContextVar.
        entered, self._entered = self._entered, []
        for setting in reversed(entered):
            _reset(*setting)
        if entered:
            entered[0][1].held = False

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with each call inside the context, as it is at the call."""

        def inside(function: Callable[..., R], args: Arguments, kwargs: KeywordArguments) -> R:
            context = self._chosen()
            return call_inside(active_store().inside(context), function, args, kwargs)

        return isolation.decorate(function, inside)

    def __repr__(self) -> str:
        return f"<Scope of {'exactly ' if self._exact else ''}{self._context!r}>"

    def _chosen(self) -> "Context":
        around = OUTSIDE.context if self._exact else current()
        # With nothing to add to, the context itself: it keeps what it was encoded to.
        return self._context if around is OUTSIDE.context else around | self._context


def _reset(token: Token[Any], value: object, absent: object) -> None:
    """Undo a setting exactly; in a snapshot that is not its own, only if it was copied there."""
    try:
        token.var.reset(token)
    except ValueError:
        # A generator, or a framework, entered and left the scope in two snapshots. If the value was
        # copied along, it ends here; any other value in this snapshot is not ours.
        if token.var.get(absent) is value:
            missing = token.old_value is Token.MISSING
            token.var.set(absent if missing else token.old_value)
