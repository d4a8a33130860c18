"""ContextVars of other libraries that take part in the context under a name."""

import contextvars
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec

from mqctx._core.registry import registry


class LinkedVar(msgspec.Struct, frozen=True, eq=False):
    """A ContextVar, and what it holds where the name has no value.

    A ContextVar cannot be unset: "no value" is its own default, or else None.
    """

    contextvar: ContextVar[Any]
    absent: object

    def read(self) -> object:
        """Return the value in the current snapshot, or `absent`."""
        return self.contextvar.get(self.absent)


def link(name: str, contextvar: ContextVar[Any]) -> None:
    """Let `contextvar` hold the value of `name` from now on."""
    try:
        absent = contextvars.Context().run(contextvar.get)
    except LookupError:
        absent = None
    registry.linked[name] = LinkedVar(contextvar, absent)


def assignments(values: Mapping[str, Any]) -> Iterator[tuple[LinkedVar, object]]:
    """Iterate over what the linked ContextVars hold where `values` are active."""
    for name, other in registry.linked.copy().items():
        yield other, values.get(name, other.absent)


def set_to(values: Mapping[str, Any]) -> None:
    """Let the linked ContextVars hold what `values` say."""
    for other, value in assignments(values):
        other.contextvar.set(value)


def set_bound(values: Mapping[str, Any]) -> None:
    """Let those linked ContextVars that have a name in `values` hold what these say."""
    for name, other in registry.linked.copy().items():
        if name in values:
            other.contextvar.set(values[name])


def held(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return by name what others have set linked ContextVars to since they held what is `given`.

    `MISSING` is where it is what stands for no value.
    """
    found: dict[str, Any] = {}
    for name, other in registry.linked.copy().items():
        value = other.read()
        if value is not given.get(name, other.absent):
            found[name] = MISSING if value is other.absent else value
    return found


MISSING: Any = object()
