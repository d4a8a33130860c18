"""The parts of which the cells of the matrix are made."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from mqctx import Context
from tests.drivers.clients import CLIENTS, Name
from tests.drivers.handling import Handle, Source

AMBIENT = Context(user="ambient", ambient=True)
"""The context around all that is done here; it must be active again after each message."""

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


class Consume(Protocol):
    """Handle `count` messages of a queue, in one of the ways that a client has for it."""

    def __call__(self, url: str, source: Source, count: int, handle: Handle, /) -> None:
        """Return when `count` messages are settled. Raise what the client raises."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """One way from a queue to the code that handles a message."""

    client: Name
    name: str
    way: Way
    consume: Consume
    cannot: Mapping[str, str] = field(default_factory=dict)
    """Queue types and deliveries that this path does not have, with the reason."""
    body: bytes = b'{"order": %d}'
    properties: Mapping[str, Any] = field(default_factory=dict)
    """The properties that a message needs to take this path."""
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


def handler_paths(
    client: Name, name: str, function: Callable[..., None], **more: Any
) -> list[Path]:
    """Return the paths of a function that takes a handler: decorated, and instrumented."""
    driver = CLIENTS[client]
    adapter = driver.adapter
    decorated = partial(function, send=adapter.publish, decorate=adapter.consume_with_context)
    instrumented = partial(function, send=driver.send_raw, decorate=bare)
    return [
        Path(client, name, "consume_with_context", decorated, **more),
        Path(client, name, "instrument", instrumented, **more),
    ]
