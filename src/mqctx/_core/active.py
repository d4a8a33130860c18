"""The verbs that make values the active context, or add them to it."""

from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from mqctx._core.context import Context, as_context, from_checked
from mqctx._core.scope import Scope
from mqctx._core.store import active_store, current
from mqctx._core.values import check_each
from mqctx.errors import InactiveError

P = ParamSpec("P")
R = TypeVar("R")


def run(
    values: Mapping[str, object], function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call `function` inside a context of exactly `values`, isolated from what is active.

    Takes sync functions and `async def`s (await the result), partials, methods and async
    callables. No context variable that it sets reaches the caller.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed), or over 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
        HandlerError: `function` is a generator function, sync or async.
    """
    return as_context(values).run(function, *args, **kwargs)


def wrap(function: Callable[P, R], /) -> Callable[P, R]:
    """Return `function` wrapped in the active context: `current().wrap(function)`."""
    return current().wrap(function)


def bind(values: Mapping[str, object] | None = None, /, **more: object) -> None:
    """Add values to the innermost run or scope that is under way, for all that runs in it.

    Its tasks and threads see them too, even those that are already at work.

    Raises:
        InactiveError: no run and no scope is active.
        InvalidNameError: a name is not an identifier (`.` and `-` allowed), or over 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
    """
    # Mostly without a call of the class.
    added = from_checked(check_each(more)) if values is None else Context(values, **more)
    store = active_store().live
    if not store.active:
        raise InactiveError(
            f"bind({', '.join(added)}) outside a run would leak to whatever comes next; "
            "start one at the edge with run(...) or `with scope(...):`; a test is in one if it is "
            "marked @pytest.mark.mqctx, or inside `with mqctx.scope():`"
        )
    store.bind(added)


def scope(values: Mapping[str, object] | None = None, /, **more: object) -> Scope:
    """Return a `with` block, or decorator, in which `values` are added to the active context.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed), or over 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
    """
    if values is None:  # as mostly: without a call of the class
        return Scope(from_checked(check_each(more)))
    return Scope(Context(values, **more))
