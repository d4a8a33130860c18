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
    their own way. Where that leaves several, the position is out of every range, and the arguments
    have to be searched.
    """
    parameters = _parameters(handler)
    positional = [each for each in parameters if each.kind <= Parameter.POSITIONAL_OR_KEYWORD]
    names = [each.name.strip("_") for each in positional]
    index = _by_names(carrier, known, names)
    if index is not None:
        return index, positional[index].name
    # The client gives its own alone: what has a default is the application's.
    required = [each.name for each in positional if each.default is Parameter.empty]
    from_end = known.index(carrier) - len(known)
    is_method = names[:1] in (["self"], ["cls"])
    if len(required) - is_method > len(known):
        return maxsize, carrier
    if _takes_more(parameters) or len(required) + from_end < 0:
        return from_end, carrier
    return len(required) + from_end, required[from_end]


def _by_names(carrier: str, known: Sequence[str], names: Sequence[str]) -> int | None:
    """Return where the carrier is, None if no argument has the client's own name for one."""
    # One that has it shows where the others are.
    for name in (carrier, *known):
        if name in names:
            index = names.index(name) + known.index(carrier) - known.index(name)
            if 0 <= index < len(names):
                return index
    return None


def _takes_more(parameters: Sequence[Parameter]) -> bool:
    return any(each.kind is Parameter.VAR_POSITIONAL for each in parameters)


def _parameters(handler: Callable[..., Any]) -> list[Parameter]:
    try:
        return [*signature(handler).parameters.values()]
    except (TypeError, ValueError):  # built in, or its `__signature__` is none
        return []
