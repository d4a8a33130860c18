"""Messages to publish, the source to consume them from, and how to settle them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, TypeAlias

from mqctx import Context

SECONDS = 30.0
"""How long anything here waits before it is a failure."""

PAUSE = 0.005
"""How long to wait before asking the broker again for what it tells to nobody."""

Order: TypeAlias = tuple[Mapping[str, object], bytes]
"""A context, and the body of a message that is published in it."""

Send: TypeAlias = Callable[..., Any]
"""The adapter's `publish`, or the client's own in the same form."""

Decorate: TypeAlias = Callable[[Any], Any]
"""`consume_with_context`, or what takes its place where the client is instrumented."""


@dataclass(frozen=True, slots=True)
class Source:
    """A queue to consume, and the arguments that its kind needs of a consumer."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])


class Settle(Enum):
    """How a handled message is settled."""

    ACK = auto()
    REQUEUE = auto()
    REJECT = auto()
    LEAVE = auto()


@dataclass(frozen=True, slots=True)
class Forward:
    """The message is published to another queue, by its handler, and acked.

    `inside` is a context to do that in; None: the one that the message brought.
    """

    queue: str
    inside: Context | None = None

    def scope(self) -> AbstractContextManager[object]:
        """Return a `with` block in which to publish."""
        return nullcontext() if self.inside is None else self.inside.scope()


Verdict: TypeAlias = Settle | Forward

Handle: TypeAlias = Callable[[bytes, Mapping[str, Any]], Verdict]
"""Called with body and headers inside the message's context; says what to do with the message."""


def context_of(number: int) -> Context:
    """Return the context of a message; each fifth has none, and each has names of its own."""
    if number % 5 == 0:
        return Context()
    return Context({"number": number, f"only_{number % 7}": str(number)})
