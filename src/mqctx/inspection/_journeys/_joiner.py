"""Join the broker's events to journeys: who published what, where it went, how it ended."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import takewhile
from math import inf
from typing import Any, Final, cast

from mqctx.inspection._journeys._copies import MOST_COMPARED, find_copy, origins_of, see
from mqctx.inspection._journeys._journeys import Journeys
from mqctx.inspection._journeys._messages import Messages
from mqctx.inspection._journeys._model import Journey, Message, Node, message_of, upward
from mqctx.inspection._journeys._order import Order
from mqctx.inspection._journeys._placed import death_by_handler, move_below, note_root
from mqctx.inspection._journeys._records import Record
from mqctx.inspection._journeys._rules import Choice, Rules, is_below
from mqctx.inspection._journeys._runs import Consumers, Runs, details_of
from mqctx.inspection._journeys._told import Event, Place, RunReport

__all__ = ["KEPT", "QUIET", "SETTLE", "Joiner"]

SETTLE: Final = 1.0
"""Seconds after which an event is joined: the delivery may be seen after what its handler sent."""
PATIENCE: Final = 8.0
"""Seconds for which a run waits, and its journey, until it is known whose delivery it handled.

RabbitMQ's list of consumers may be as late as its statistics, told each 5 s."""
_PAUSE: Final = 0.5
QUIET: Final = 3.0
"""Seconds after which a journey is handed out."""
KEPT: Final = 50_000
"""How many messages later events may be joined to."""


def _unknown(_tag: str) -> list[str]:
    return []


class Joiner:
    """Take events in the order in which they come, and hand out journeys.

    All times are in seconds since 1970, and given: nothing here looks at a clock.

    Args:
        by: The name in the context that says to which request a message belongs.
        tapped: Whether only publishes are seen.
        kept: How many messages later events may be joined to.
        exists: Tells whether there is a queue: RabbitMQ names those that the default exchange
            would have routed to, if they were there.
        consumers: Tells which connections have a consumer of a tag.
    """

    def __init__(
        self,
        *,
        by: str = "request_id",
        tapped: bool = False,
        kept: int = KEPT,
        exists: Callable[[str], bool] = bool,
        consumers: Consumers = _unknown,
    ) -> None:
        self._exists = exists
        self._tapped = tapped
        self._messages = Messages(tuple(dict.fromkeys((by, "trace_id"))), kept)
        self._runs = Runs(self._messages, consumers)
        self._rules = Rules(self._messages, self._runs, tapped=tapped)
        self._order = Order()
        self._undecided: deque[Node] = deque()
        self._unclear: dict[str, Node] = {}
        """Runs of which it is not known yet which delivery they handled."""
        self._now = self._next_look = 0.0
        self._orphans: dict[int, list[tuple[Node, Event]]] = {}
        self._numbers: dict[str, int] = {}
        self._deciders: dict[str, Callable[[Node, Any], None]] = {
            "run": self._decide_run,
            "publish": self._decide_publish,
            "delivery": self._decide_delivery,
        }
        self.journeys = Journeys()

    def take(self, event: Event | RunReport) -> None:
        """Take an event. It is joined once it has settled."""
        self._order.add(event)

    def _take(self, event: Event | RunReport) -> None:
        kind = "run" if isinstance(event, RunReport) else event.place.kind
        node = Node(id=self._new_id(kind), kind=kind, at=event.at, lane=event.lane)
        self._undecided.append(node)
        if isinstance(event, RunReport):
            node.report = event
            self._runs.add(node, event)
            return
        node.place, node.event = event.place, event
        if kind == "publish":
            self._take_publish(node, event)
        elif not self._take_delivery(node, event):
            self._orphans.setdefault(event.identity.key, []).append((node, event))

    def advance(self, now: float) -> Iterator[list[Record]]:
        """Join what has settled by `now`, and return the journeys that are quiet."""
        self._take_settled(now)
        if self._unclear and now >= self._next_look:
            self._next_look = now + _PAUSE
            self._decide_unclear(now)
        self._decide_settled(now)
        yield from self.journeys.quiet_since(now - QUIET - SETTLE)

    def finish(self) -> Iterator[list[Record]]:
        """Join what is left, and return all journeys."""
        self._take_settled(inf)
        self._decide_settled(inf)
        self._decide_unclear(inf)
        yield from self.journeys.all()

    def sizes(self) -> dict[str, int]:
        """Return how much is kept of what: it does not grow with the number of events."""
        return {**self._messages.sizes(), "journeys": len(self.journeys)}

    def _take_settled(self, now: float) -> None:
        for event in self._order.settled(now):
            self._take(event)

    def _new_id(self, kind: str) -> str:
        number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return f"{kind}-{number}"

    def _take_publish(self, node: Node, event: Event) -> None:
        message = node.message = message_of(event, node)
        self._messages.add(message)
        if self._tapped:
            message.add_end(node)
        for queue in event.place.queues:
            self._messages.add_copy(message, queue)
        self._take_orphans(event.identity.key)

    def _take_orphans(self, key: int) -> None:
        """Take deliveries again whose publish is seen now.

        They may come first in a cluster. Those of other publishes of the same content wait on.
        """
        orphans = self._orphans.pop(key, [])
        oldest, others = orphans[:MOST_COMPARED], orphans[MOST_COMPARED:]
        left = [each for each in oldest if not self._take_delivery(*each)] + others
        if left:
            self._orphans[key] = left

    def _take_delivery(self, node: Node, event: Event) -> bool:
        """Find the message of a delivery; return whether one was found."""
        found = find_copy(self._messages, event)
        if found is not None:
            see(node, found[0], event, uncertain=found[1], new_id=self._new_id)
        return found is not None

    def _decide_settled(self, now: float) -> None:
        self._now = now
        while self._undecided and self._undecided[0].at + SETTLE <= now:
            self._decide(self._undecided.popleft())

    def _decide(self, node: Node | None) -> None:
        """Join an event for good, and with it what led to it, once; None is decided."""
        if node is None or node.is_decided:
            return
        # Noted before it is done: two events that name each other would never come to an end.
        node.is_decided = True
        self._deciders[node.kind](node, node.event or node.report)

    def _decide_unclear(self, now: float) -> None:
        self._now = now
        unclear, self._unclear = self._unclear, {}
        for run in unclear.values():
            run.is_decided = False
            self._decide(run)

    def _decide_run(self, node: Node, report: RunReport) -> None:
        delivery, uncertain = self._runs.delivery_of(report)
        if uncertain and self._now < node.at + PATIENCE:
            # The broker's list of consumers is late. Publishes of the run are moved below it then.
            self._unclear[node.id] = node
            self.journeys.keep(self._messages.journey_of(report.context), self._now)
            return
        node.details = details_of(report)
        journey = self._messages.journey_of(report.context) or Journey(node.id, None)
        if delivery is not None:
            _join_run(node, delivery, uncertain=uncertain)
            self._decide(delivery)
            journey = delivery.journey or journey
        # Until now, it was when the record came.
        node.at = report.began_at.timestamp()
        self.journeys.add(node, journey)
        for publish in self._runs.published_by(report):
            move_below(publish, node)

    def _decide_publish(self, node: Node, event: Event) -> None:
        message = cast("Message", node.message)  # which it has from the beginning
        node.queues = self._existing(event.place)
        # Or else it is unclear, and joined to nothing yet.
        self._decide(self._runs.that_published(message))
        choice, above = self._parent_of(node, message)
        node.parent, node.joined, node.inferred = choice
        journey = message.take_up(above or _journey_of(message, node))
        if node.parent is None:
            note_root(node, message)
        if (death := death_by_handler(node, message, event, self._new_id)) is not None:
            self.journeys.add(death, journey)
        self.journeys.add(node, journey)

    def _parent_of(self, node: Node, message: Message) -> tuple[Choice, Journey | None]:
        """Return what led to a publish, and the journey of that."""
        choice = self._rules.choose(node, message)
        if choice.parent is None:
            return choice, None
        # First decided, then looked at: only now does the parent have a parent of its own.
        self._decide(choice.parent)
        if is_below(choice.parent, node):
            return Choice(None, inferred=True), None  # each would have led to the other
        return choice, choice.parent.journey

    def _existing(self, place: Place) -> list[str] | None:
        """Return the queues that a publish reached, None if that cannot be seen."""
        if self._tapped:
            return None
        # Of the default exchange, RabbitMQ names the routing key, whether that queue is there.
        return [*filter(bool if place.exchange else self._exists, place.queues)]

    def _decide_delivery(self, node: Node, event: Event) -> None:
        message = node.message or self._unseen(node, event)
        self._decide(message.publish)
        journey = message.take_up(_journey_of(message, node))
        # With a delivery come the deaths before it, which no event shows.
        for above in takewhile(_is_untold, upward(node)):
            above.is_decided = True
            self.journeys.add(above, journey)

    def _unseen(self, node: Node, event: Event) -> Message:
        """Return the message of a delivery whose publish was before the trace, or dropped."""
        # The oldest is the first to settle; others will find their publish, or follow.
        key = event.identity.key
        if left := self._orphans.pop(key, [])[1:]:
            self._orphans[key] = left
        found = find_copy(self._messages, event)
        if found is None:
            message = message_of(event)
            self._messages.add(message)
            found = self._messages.add_copy(message, origins_of(event)[0]), False
            find_copy(self._messages, event)
        see(node, found[0], event, uncertain=found[1], new_id=self._new_id)
        return found[0].message


def _join_run(run: Node, delivery: Node, *, uncertain: bool) -> None:
    # One that was guessed may still be another run's.
    delivery.has_run, delivery.is_guessed = not uncertain, uncertain
    run.parent, run.message = delivery, delivery.message
    run.joined, run.inferred = "time" if uncertain else "message", uncertain


def _journey_of(message: Message, node: Node) -> Journey:
    """Return the journey of its request, else of its trace, else one of its own."""
    if message.journey is not None:
        return message.journey
    for group in message.groups:
        return group.journey or Journey(group.key[1], group.key[0])
    return Journey(node.id, None)


def _is_untold(node: Node) -> bool:
    return node.kind != "publish" and not node.is_held
