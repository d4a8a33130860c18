"""What a trace keeps of messages, and how it keeps them apart and together."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

Kind: TypeAlias = Literal["publish", "delivery", "dead_letter", "run"]
MOST_ENDS: Final = 256
"""How many deliveries of one request, or of one copy of a message, a publish may be joined to."""


class Identity(NamedTuple):
    """What tells a message from others wherever it turns up."""

    key: int
    """Of body, ids and the headers of its context: the same when it is sent on unchanged."""
    exact: int
    """Of all that its publisher wrote, to tell apart what has one key."""
    is_unique: bool
    """Whether it has an id, or a context: else strangers may well send the same."""


class Event(msgspec.Struct, kw_only=True, gc=False):
    """One event of the broker: a message was published, or delivered."""

    kind: Literal["publish", "delivery"]
    at: float
    """When we received it, in seconds since 1970: the broker's events have no time."""
    identity: Identity
    exchange: str
    routing_keys: list[str]
    headers: Mapping[str, Any]
    """As plain JSON."""
    context: Mapping[str, Any]
    """As plain JSON."""
    bytes: int
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    queues: tuple[str, ...] | None = None
    """Of a publish: where it was routed to; None if that cannot be seen."""
    queue: str = ""
    redelivered: bool = False
    user: str | None = None
    node: str | None = None
    connection: str | None = None
    channel: int | None = None


class RunReport(msgspec.Struct, kw_only=True):
    """A record of mqctx's own: a handler's run, which has ended."""

    at: float = 0.0
    """When we received it, in seconds since 1970."""
    context: dict[str, Any] = {}
    message_id: str | None = None
    correlation_id: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    redelivered: bool | None = None
    consumer_tag: str | None = None
    connection: str | None = None
    service: str = ""
    handler: str = ""
    outcome: str = ""
    error: str | None = None
    began_at: datetime
    duration: float
    published: list[str] = []


class Journey(msgspec.Struct, eq=False):
    """What became of one request."""

    name: str
    by: str | None
    held: "list[Node]" = []
    """What is not printed yet."""
    last: float = 0.0
    """When the last event was received."""
    is_printed: bool = False
    is_chosen: bool = False
    """Whether a message of it, printed or not, fits the conditions."""


class Node(msgspec.Struct, eq=False, kw_only=True):
    """A publish, a delivery, a dead-lettering or a handler's run, as part of a journey."""

    id: str
    kind: Kind
    at: float
    event: Event | None = None
    """Of a publish or a delivery, until it is printed."""
    report: RunReport | None = None
    """Of a run, until it is printed."""
    route: tuple[str, str] | None = None
    """Of a delivery: the exchange and the first routing key."""
    has_run: bool = False
    """Whether the run of its handler is known."""
    connection: str | None = None
    channel: int | None = None
    user: str | None = None
    copy: "Copy | None" = None
    message: "Message | None" = None
    details: dict[str, Any] = {}
    """What only its kind has in JSON."""
    parent: "Node | None" = None
    joined: str | None = None
    inferred: bool = False
    journey: Journey | None = None
    decide: Callable[[], object] = object
    """Joins it for good; does nothing afterwards."""
    is_held: bool = False
    """Whether its journey has it, printed or not."""


class Copy(msgspec.Struct, eq=False):
    """The copy of a message that went to one queue, from which it may have moved on by dying."""

    message: "Message"
    origin: str
    deaths: dict[tuple[str, str], int] = {}
    """How often it died, by queue and reason, as far as was seen."""
    dead: "dict[tuple[str, str, int], Node]" = {}
    places: set[tuple[str, int]] = set()
    """Queues from which it was delivered, with the number of deaths before."""
    attempts: dict[str, int] = {}
    deliveries: deque[Node] = msgspec.field(default_factory=lambda: deque(maxlen=MOST_ENDS))
    is_uncertain: bool = False
    """Whether it may be another one of the same content."""

    @property
    def last_delivered_at(self) -> float:
        """When it was last delivered, 0.0 if it never was."""
        return self.deliveries[-1].at if self.deliveries else 0.0

    def may_have(self, deaths: Mapping[tuple[str, str], int]) -> bool:
        """Tell whether these deaths may be its own: those that were seen, and perhaps more."""
        return all(deaths.get(way, 0) >= count for way, count in self.deaths.items())


class Message(msgspec.Struct, eq=False):
    """A message that later events may be joined to."""

    identity: Identity
    context: Mapping[str, Any]
    publish: Node | None = None
    copies: dict[str, Copy] = {}
    groups: "tuple[Group, ...]" = ()
    answers: tuple[str, str] | None = None
    """Where its answer goes: the queue, and the correlation id."""
    asker: str | None = None
    """The connection that asked, if it is an answer."""
    journey: Journey | None = None
    id: str | None = None
    """The property `message_id`."""

    def take_up(self, journey: Journey) -> None:
        """Make it part of a journey, and with it those of its groups that have none yet."""
        self.journey = journey
        for group in self.groups:
            group.journey = group.journey or journey

    @property
    def span(self) -> str | None:
        """The span that the message itself is."""
        return _text(self.context.get("span_id"))

    @property
    def parent_span(self) -> str | None:
        """The span in which it was published, which mqctx writes beside its own."""
        return _text(self.context.get("parent_span_id"))

    @property
    def sender(self) -> str | None:
        """The connection that published it."""
        return None if self.publish is None else self.publish.connection

    def deliveries(self) -> Iterator[Node]:
        """Return its deliveries, of all copies."""
        for copy in self.copies.values():
            yield from copy.deliveries


class Group(msgspec.Struct, eq=False):
    """The messages whose contexts have one value in common: a request's, or a trace's."""

    key: tuple[str, str]
    journey: Journey | None = None
    ends: deque[Node] = msgspec.field(default_factory=lambda: deque(maxlen=MOST_ENDS))
    """Deliveries, in whose handlers more may be published."""
    root_connections: set[str] = set()
    root_spans: set[str] = set()
    messages: int = 0


class Twins(msgspec.Struct, eq=False):
    """Copies of the same content in one queue, in the order in which they came there."""

    copies: dict[int, Copy] = {}
    waiting: deque[Copy] = msgspec.field(default_factory=deque[Copy])
    """Those that were not delivered yet."""
    is_uncertain: bool = False
    """Whether one was taken for another, perhaps, while these wait."""


def deliveries_of(messages: Iterable[Message]) -> list[Node]:
    """Return the deliveries of messages, of each in the order of time."""
    return [each for message in messages for each in message.deliveries()]


def publishes_of(messages: Iterable[Message]) -> list[Node]:
    """Return the publishes of messages, as far as they were seen."""
    return [each.publish for each in messages if each.publish is not None]


def upward(node: Node | None) -> Iterator[Node]:
    """Yield an event and what led to it, step by step, as far as that is kept."""
    while node is not None:
        yield node
        node = node.parent


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
