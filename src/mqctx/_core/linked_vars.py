"""ContextVars of other libraries that take part in the context under a name."""

import contextvars
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TypeAlias

from mqctx._core.registry import Registry, registry

Assignment: TypeAlias = tuple[Callable[[Any], object], object, object]
"""Reads a linked ContextVar, the argument for it, and the result while a context is active."""


class LinkedVar(NamedTuple):
    """A ContextVar, and the value that it holds if the name has none.

    A ContextVar cannot be unset: "no value" is its own default, or else None.
    """

    name: str
    contextvar: ContextVar[Any]
    absent: object

    def read(self) -> object:
        """Return the value in the current snapshot, or `absent`."""
        return self.contextvar.get(self.absent)


def link(name: str, contextvar: ContextVar[Any]) -> None:
    """Let `contextvar` hold the value of `name` from now on."""
    try:
        # In an empty context, where nobody can have set it: it gives its own default.
        absent = contextvars.Context().run(contextvar.get)
    except LookupError:  # which it does not have
        absent = None
    linked = LinkedVar(name, contextvar, absent)

    def add(changed: Registry[Any]) -> None:
        changed.linked[name] = linked
        # If two threads are here at once, the one that writes last sees what the other has added.
        while (links := tuple(changed.linked.copy().values())) != changed.links:
            changed.links = links
        changed.undeclared = set()  # log lines that were made without it are made anew

    registry.change(add)


def assignments(values: Mapping[str, object]) -> list[Assignment]:
    """Return what the linked ContextVars hold while `values` are active."""
    return [
        (contextvar.get, absent, values.get(name, absent))
        for name, contextvar, absent in registry.links
    ]


def set_to(values: Mapping[str, object]) -> None:
    """Set all linked ContextVars, from `values`."""
    for name, contextvar, absent in registry.links:
        contextvar.set(values.get(name, absent))


def set_bound(values: Mapping[str, object]) -> None:
    """Set those linked ContextVars whose names are in `values`."""
    for name, contextvar, _ in registry.links:
        if name in values:
            contextvar.set(values[name])


def held(given: Mapping[str, object]) -> dict[str, object]:
    """Return by name the values that linked ContextVars were set to since they held the `given`.

    `MISSING` stands for the value that means none.
    """
    found: dict[str, object] = {}
    for name, contextvar, absent in registry.links:
        value = contextvar.get(absent)
        if value is not given.get(name, absent):
            found[name] = MISSING if value is absent else value
    return found


MISSING: Final = object()
