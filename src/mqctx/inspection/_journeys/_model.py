"""The data that a trace keeps of messages, and how it keeps them apart and together."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from mqctx.inspection._deaths import Death
from mqctx.inspection._journeys._told import NOWHERE, Event, Identity, Place, RunReport
from mqctx.inspection._plain import text_or_none

Kind: TypeAlias = Literal["publish", "delivery", "dead_letter", "run"]
_SPANS: Final = ("span_id", "parent_span_id")
LATE: Final = 0.5
"""Seconds by which an event may come later than one that was after it, by another channel."""
MOST_ENDS: Final = 256
"""How many deliveries of one request, or of one copy of a message, a publish may be joined to."""


class Journey(msgspec.Struct, eq=False):
    """The events of one request."""

    name: str
    by: str | None
    held: "list[Node]" = []
    """The events that are not printed yet."""
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
    lane: str = ""
    """By which of our channels its event came."""
    place: Place = NOWHERE
    """Of a publish or a delivery."""
    event: Event | None = None
    """Of a publish or a delivery, until it is printed."""
    report: RunReport | None = None
    """Of a run, until it is printed."""
    queues: list[str] | None = None
    """Of a publish: those that exist; None if that cannot be seen."""
    attempt: int = 0
    """Of a delivery: which one it is of this message from this queue."""
    details: dict[str, Any] | None = None
    """The JSON keys that only dead letters, or runs, have."""
    has_run: bool = False
    """Whether the run of its handler is known."""
    is_guessed: bool = False
    """Whether a run was joined to it that may be another delivery's."""
    message: "Message | None" = None
    copy: "Copy | None" = None
    """Of a delivery: what was delivered."""
    parent: "Node | None" = None
    joined: str | None = None
    inferred: bool = False
    journey: Journey | None = None
    is_decided: bool = False
    """Whether it is joined for good."""
    is_held: bool = False
    """Whether its journey has it, printed or not."""


class Copy(msgspec.Struct, eq=False):
    """The copy of a message that went to one queue, from which it may have moved on by dying."""

    message: "Message"
    origin: str
    died: dict[tuple[str, str], Node] = {}
    """The last time that it died, as far as was seen, by queue and reason."""
    been: dict[str, tuple[int, int]] = {}
    """By queue: how often it was delivered, and how often it had died before the last time."""
    deliveries: list[Node] = []
    is_uncertain: bool = False
    """Whether it may be another one of the same content."""

    def may_have(self, deaths: Mapping[tuple[str, str], int]) -> bool:
        """Tell whether these deaths may be its own: those that were seen, and perhaps more."""
        return all(deaths.get(way, 0) >= count_of(node) for way, node in self.died.items())


class Message(msgspec.Struct, eq=False):
    """A message that later events may be joined to."""

    identity: Identity
    context: Mapping[str, Any]
    publish: Node | None = None
    id: str | None = None
    """The property `message_id`."""
    correlation_id: str | None = None
    span: str | None = None
    """The span that the message itself is."""
    parent_span: str | None = None
    """The span in which it was published, which mqctx writes beside its own."""
    answers: tuple[str, str] | None = None
    """The address of its answer: the queue, and the correlation id."""
    failure: int | None = None
    """A hash of the reason for which a handler dead-lettered it."""
    is_settling: bool = False
    """Whether it is a copy that a handler, or a redrive, made of what it received."""
    asker: str | None = None
    """The connection that asked, if it is an answer."""
    brought: Mapping[tuple[str, str], int] = {}
    """How often it had died, by queue and reason, as the message that it was before."""
    copies: list[Copy] = []
    groups: "tuple[Group, ...]" = ()
    journey: Journey | None = None

    def take_up(self, journey: Journey) -> Journey:
        """Make it part of a journey, and with it those of its groups that have none yet."""
        self.journey = journey
        for group in self.groups:
            group.journey = group.journey or journey
        return journey

    def add_end(self, end: Node) -> None:
        """Add what may have led to later messages of the same request."""
        for group in self.groups:
            add_end(group.ends, end)

    @property
    def sender(self) -> str | None:
        """The connection that published it."""
        return None if self.publish is None else self.publish.place.connection

    def deliveries(self) -> Iterator[Node]:
        """Return its deliveries, of all copies."""
        for copy in self.copies:
            yield from copy.deliveries


class Group(msgspec.Struct, eq=False):
    """The messages whose contexts have one value in common: a request's, or a trace's."""

    key: tuple[str, str]
    journey: Journey | None = None
    ends: list[Node] = []
    """Deliveries, in whose handlers more may be published."""
    roots: dict[str, None] = {}
    """The connections, and the spans, by which messages were published that nothing led to."""
    messages: int = 0


class Twins(msgspec.Struct, eq=False):
    """Copies of the same content in one queue, in the order in which they came there."""

    copies: list[Copy] = []
    waiting: list[Copy] = []
    """Those that were not delivered yet."""
    is_uncertain: bool = False
    """Whether one was taken for another, perhaps, while these wait."""


def message_of(event: Event, publish: Node | None = None) -> Message:
    """Return a message as one of its events shows it."""
    written = event.written
    message = Message(event.identity, written.context, publish, written.message_id)
    message.correlation_id = written.correlation_id
    message.span, message.parent_span = map(text_or_none, map(written.context.get, _SPANS))
    if written.reply_to and written.correlation_id:
        message.answers = written.reply_to, written.correlation_id
    message.failure = None if written.failure is None else hash(written.failure)
    message.is_settling = written.failure is not None or written.is_redriven
    message.brought = counts_of(written.deaths if publish else ())
    return message


def counts_of(deaths: Iterable[Death]) -> dict[tuple[str, str], int]:
    """Return how often a message died, by queue and reason."""
    return {(each.queue, each.reason): each.count for each in deaths}


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


def lateness(one: Node | RunReport, other: Node | RunReport) -> float:
    """Return by how much either may have come later than it was, compared to the other."""
    return 0.0 if one.lane == other.lane else LATE


def add_end(ends: list[Node], end: Node) -> None:
    """Add a delivery, and forget the oldest ones if there are too many."""
    ends.append(end)
    if len(ends) >= 2 * MOST_ENDS:
        del ends[:-MOST_ENDS]


def remember(known: dict[str, None], text: str) -> None:
    """Add a text, and forget the oldest one if there are too many."""
    known[text] = None
    if len(known) > MOST_ENDS:
        del known[next(iter(known))]


def count_of(death: Node | None) -> int:
    """Return how often a message has died in the way of its last death, if there was one."""
    return int(death.details["count"]) if death is not None and death.details else 0
