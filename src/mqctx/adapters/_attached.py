"""State of ours that belongs to a client's object, and lives as long as that."""

from typing import Any, TypeVar

T = TypeVar("T")


def attached(owner: object, kind: type[T]) -> T:
    """Return the `kind` that belongs to a client's object, made at the first call."""
    name = f"mqctx_{kind.__name__}"
    # In its own dict: `getattr` would ask a mock, or a proxy, which may answer with anything.
    found: T | None = vars(owner).get(name)
    if found is None:
        found = vars(owner)[name] = kind()
    return found


class Consumed(dict[Any, str]):
    """The queues that a channel consumes, by the consumer's tag: a delivery does not name them."""
