"""What the cells of the matrix are made of."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from mqctx import Context

SECONDS = 30.0
"""How long anything here waits before it is a failure."""

PAUSE = 0.005
"""How long to wait before asking the broker again for what it tells to nobody."""

AMBIENT = Context(user="ambient", ambient=True)
"""What is active around all that is done here, and must be again after each message."""

EMPTY = Context()
SENT = Context(
    {
        "user": "ada",
        "full_name": "Zo\u00eb \U0001f600 \u4e16\u754c",
        "attempt": 3,
        "basket": {"items": [1, {"sku": "\u00e9-7", "tags": [None, True]}], "empty": []},
        "campaign": None,
    }
)

Client: TypeAlias = Literal["aio-pika", "kombu", "pika"]
Way: TypeAlias = Literal["consume_with_context", "restored", "instrument"]
H = TypeVar("H", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A queue type: how such a queue is declared, and how consumers ask for its messages."""

    name: str
    consumer_arguments: Mapping[str, Any] = field(default_factory=dict)


CLASSIC = Kind("classic")
QUORUM = Kind("quorum")
STREAM = Kind("stream", {"x-stream-offset": "first"})
KINDS = (CLASSIC, QUORUM, STREAM)


@dataclass(frozen=True, slots=True)
class Source:
    """A queue to consume, and the arguments that its kind needs of a consumer."""

    name: str
    kind: Kind

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments for a consumer, in a new dict."""
        return dict(self.kind.consumer_arguments)


class Settle(Enum):
    """What becomes of a message that was handled."""

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


class Consume(Protocol):
    """Handle `count` messages of a queue, in one of the ways that a client has for it."""

    def __call__(self, url: str, source: Source, count: int, handle: Handle, /) -> None:
        """Return when `count` messages are settled. Raise what the client raises."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """One way from a queue to the code that handles a message."""

    client: Client
    name: str
    way: Way
    consume: Consume
    cannot: Mapping[str, str] = field(default_factory=dict)
    """Queue types and deliveries that this path does not have, with the reason."""
    body: bytes = b'{"order": %d}'
    properties: Mapping[str, Any] = field(default_factory=dict)
    """What a message needs besides its body to take this path."""
    replies: bool = False
    """Whether each handled message is answered, in the queue that its `reply_to` names."""
    reconnects: bool = False
    """Whether the client goes on by itself when its connection is lost."""

    @property
    def id(self) -> str:
        """A name that no other path has."""
        return f"{self.client}: {self.name}, {self.way}"


def bare(handler: H) -> H:
    """Take the place of a decorator where the client is instrumented."""
    return handler


def nothing(*_: Any) -> AbstractContextManager[object]:
    """Take the place of `restored` where the client is instrumented."""
    return nullcontext()
