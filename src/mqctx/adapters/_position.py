"""Find which argument of a handler is the client's, whatever the application calls its own."""

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from sys import maxsize
from typing import Any

__all__ = ["place_of"]


def place_of(carrier: str, known: Sequence[str], handler: Callable[..., Any]) -> tuple[int, str]:
    """Return the position in a call, and the name, of the argument that the client calls `carrier`.

    `known` are the client's arguments in their order. Applications have arguments of their own
    before them (`self`, or those that a partial adds) and after them, and name the client's in
    their own way. If that leaves several, the position is out of every range, and the arguments
    have to be searched.
    """
    parameters = _parameters(handler)
    positional = [each for each in parameters if each.kind <= Parameter.POSITIONAL_OR_KEYWORD]
    takes_more = any(each.kind is Parameter.VAR_POSITIONAL for each in parameters)
    return _by_names(carrier, known, positional) or _by_number(
        carrier, known, positional, takes_more=takes_more
    )


def _by_number(
    carrier: str, known: Sequence[str], positional: Sequence[Parameter], *, takes_more: bool
) -> tuple[int, str]:
    """Return where the carrier is if the client's arguments are the last that have to be given."""
    # The client fills what has no default: all else is the application's own.
    required = [each.name for each in positional if each.default is Parameter.empty]
    from_end = known.index(carrier) - len(known)
    is_method = required[:1] in (["self"], ["cls"])
    if len(required) - is_method > len(known):
        return maxsize, carrier
    if takes_more or len(required) + from_end < 0:
        return from_end, carrier
    return len(required) + from_end, required[from_end]


def _by_names(
    carrier: str, known: Sequence[str], positional: Sequence[Parameter]
) -> tuple[int, str] | None:
    """Return where the carrier is, None if no argument has the client's own name for one."""
    names = [each.name.strip("_") for each in positional]
    # One that has it shows where the others are.
    for name in filter(names.__contains__, (carrier, *known)):
        index = names.index(name) + known.index(carrier) - known.index(name)
        if 0 <= index < len(names):
            return index, positional[index].name
    return None


def _parameters(handler: Callable[..., Any]) -> list[Parameter]:
    try:
        return [*signature(handler).parameters.values()]
    except (TypeError, ValueError):  # built in, or its `__signature__` is none
        return []
