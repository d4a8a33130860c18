"""ContextVars of other libraries that take part in the context under a name."""

from collections.abc import Iterator, Mapping
from contextvars import Context as Space
from contextvars import ContextVar
from typing import Any

import msgspec


class JoinedContextVar(msgspec.Struct, frozen=True, eq=False):
    """A ContextVar, and what it holds where the name has no value.

    A ContextVar cannot be unset: "no value" is its own default, or else None.
    """

    contextvar: ContextVar[Any]
    absent: object

    def read(self) -> object:
        """Return the value in the current space, or `absent`."""
        return self.contextvar.get(self.absent)


joined: dict[str, JoinedContextVar] = {}


def join(name: str, contextvar: ContextVar[Any]) -> None:
    """Let `contextvar` hold the value of `name` from now on."""
    try:
        absent = Space().run(contextvar.get)
    except LookupError:
        absent = None
    joined[name] = JoinedContextVar(contextvar, absent)


def settings(values: Mapping[str, Any]) -> Iterator[tuple[JoinedContextVar, object]]:
    """Iterate over what the joined ContextVars hold where `values` are active."""
    for name, other in joined.items():
        yield other, values.get(name, other.absent)


def set_to(values: Mapping[str, Any]) -> None:
    """Let the joined ContextVars hold what `values` say."""
    for other, value in settings(values):
        other.contextvar.set(value)


def agree(values: Mapping[str, Any]) -> bool:
    """Whether the joined ContextVars hold at this moment what `values` say."""
    return all(other.read() is value for other, value in settings(values))


def captured(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with what the joined ContextVars hold at this moment."""
    read = ((name, other.read(), other.absent) for name, other in joined.items())
    present = {name: value for name, value, absent in read if value is not absent}
    return {name: value for name, value in values.items() if name not in joined} | present
