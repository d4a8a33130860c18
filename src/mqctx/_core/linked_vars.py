"""ContextVars of other libraries that take part in the context under a name."""

import contextvars
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec


class LinkedVar(msgspec.Struct, frozen=True, eq=False):
    """A ContextVar, and what it holds where the name has no value.

    A ContextVar cannot be unset: "no value" is its own default, or else None.
    """

    contextvar: ContextVar[Any]
    absent: object

    def read(self) -> object:
        """Return the value in the current snapshot, or `absent`."""
        return self.contextvar.get(self.absent)


linked: dict[str, LinkedVar] = {}


def link(name: str, contextvar: ContextVar[Any]) -> None:
    """Let `contextvar` hold the value of `name` from now on."""
    try:
        absent = contextvars.Context().run(contextvar.get)
    except LookupError:
        absent = None
    linked[name] = LinkedVar(contextvar, absent)


def assignments(values: Mapping[str, Any]) -> Iterator[tuple[LinkedVar, object]]:
    """Iterate over what the linked ContextVars hold where `values` are active."""
    for name, other in linked.items():
        yield other, values.get(name, other.absent)


def set_to(values: Mapping[str, Any]) -> None:
    """Let the linked ContextVars hold what `values` say."""
    for other, value in assignments(values):
        other.contextvar.set(value)


def matches(values: Mapping[str, Any]) -> bool:
    """Whether the linked ContextVars hold at this moment what `values` say."""
    return all(other.read() is value for other, value in assignments(values))


def captured(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with what the linked ContextVars hold at this moment."""
    read = ((name, other.read(), other.absent) for name, other in linked.items())
    present = {name: value for name, value, absent in read if value is not absent}
    return {name: value for name, value in values.items() if name not in linked} | present
