"""Which event a publish came from: the rules, in the order in which they are tried."""

from collections.abc import Iterable
from functools import partial
from itertools import filterfalse, takewhile
from operator import attrgetter
from typing import Final, NamedTuple

from mqctx.inspection._journeys._messages import Messages
from mqctx.inspection._journeys._model import (
    Message,
    Node,
    deliveries_of,
    lateness,
    publishes_of,
    upward,
)
from mqctx.inspection._journeys._runs import Runs

__all__ = ["Choice", "Rules", "is_below"]

_SAME_TIME: Final = 5.0
_BY_CLOSENESS: Final = ("time", "client", "connection", "channel")


class Choice(NamedTuple):
    """The event that a publish came from, None for a root, and how that is known."""

    parent: Node | None
    joined: str | None = None
    inferred: bool = False


class Rules:
    """Find the parent of a publish among the messages that are kept.

    Args:
        messages: Those.
        runs: The runs of handlers that were reported.
        tapped: Whether deliveries cannot be seen, so that their publishes stand for them.
    """

    def __init__(self, messages: Messages, runs: Runs, *, tapped: bool) -> None:
        self._messages = messages
        self._runs = runs
        self._ends_of = publishes_of if tapped else deliveries_of
        self._rules = (
            self._sent_on, self._reply, self._run, self._same_span, self._span, self._root
        )  # fmt: skip

    def choose(self, publish: Node, message: Message) -> Choice:
        """Return what the first rule says that fits."""
        for rule in self._rules:
            choice = rule(publish, message)
            if choice is not None:
                return choice
        return self._nearest(publish, message)

    def _sent_on(self, publish: Node, message: Message) -> Choice | None:
        """A message that is sent on unchanged, by whom it was delivered to."""
        earlier = self._messages.same_as(message)
        if not earlier:  # as mostly
            return None
        ends = self._ends(earlier, publish)
        sure = _surely_led(publish, message, earlier, ends)
        if len(sure) == 1 or _are_of_one_copy(publish, sure):
            return Choice(sure[-1], "message", inferred=not message.identity.is_unique)
        return None if _is_strangers(publish, message, earlier, ends) else _last(ends, publish)

    def _reply(self, publish: Node, message: Message) -> Choice | None:
        """An answer, which goes where the request said, with the request's correlation id."""
        if publish.place.exchange:
            return None
        found = self._messages.awaiting(publish.place.route[1], message.correlation_id)
        requests = _without(message, found)
        if requests:
            message.asker = requests[-1].sender
        return self._from(publish, requests, "reply")

    def _run(self, publish: Node, message: Message) -> Choice | None:
        """A message that a handler's own record names."""
        run = self._runs.that_published(message)
        if run is None or is_below(run, publish):
            return None
        return Choice(run, "run", run.inferred)

    def _same_span(self, publish: Node, message: Message) -> Choice | None:
        """A message with headers that came in: whoever knows no spans may send them on."""
        others = _without(message, self._messages.of_span(message.span))
        ends = self._ends(others, publish)
        if not ends or _sent(publish, others):
            return None
        if _is_only_one(others, ends) and _received(publish, ends):
            return Choice(ends[0], "span")
        return _nearest_of(ends, publish)

    def _span(self, publish: Node, message: Message) -> Choice | None:
        """A message that names the span in which it was published."""
        return self._from(publish, self._messages.of_span(message.parent_span), "span")

    def _root(self, publish: Node, message: Message) -> Choice | None:
        """A message that no delivery led to, as far as its sender says."""
        mark = message.parent_span or publish.place.connection
        if any(mark in group.roots for group in message.groups):
            return Choice(None, inferred=message.parent_span is None)
        return None

    def _nearest(self, publish: Node, message: Message) -> Choice:
        """The delivery of the same request that is nearest to it."""
        others: list[Node] = []
        for group in message.groups:
            others = [each for each in group.ends if each.message is not message]
            before = _before(publish, others)
            # An asker goes on when the answer comes: its messages after that come from the
            # delivery that made it ask.
            if chosen := [*filterfalse(_is_awaited, before)] or before:
                return _nearest_of(chosen, publish)
        return Choice(None, inferred=any(lateness(each, publish) for each in others))

    def _from(self, publish: Node, messages: list[Message], rule: str) -> Choice | None:
        """Join it to the delivery of one of these messages."""
        ends = self._ends(messages, publish)
        if not ends:
            return _from_unseen(messages, rule)
        if _is_only_one(messages, ends):
            return Choice(ends[0], rule)
        return _nearest_of(ends, publish)

    def _ends(self, messages: Iterable[Message], publish: Node) -> list[Node]:
        """Return what may have led to a publish: the deliveries of these messages."""
        return [each for each in self._ends_of(messages) if not _is_above(publish, each)]


def _from_unseen(messages: Iterable[Message], rule: str) -> Choice | None:
    """Join it to a message of which no delivery can be seen: a direct reply, say, or dropped."""
    known = publishes_of(messages)
    return Choice(known[-1], rule, inferred=True) if known else None


def _surely_led(
    publish: Node, message: Message, earlier: list[Message], ends: list[Node]
) -> list[Node]:
    """Return the deliveries of which one led to a publish of the same content."""
    if not _sent(publish, earlier) and (received := _received(publish, ends)):
        return received
    return ends if message.is_settling else []


def _is_strangers(
    publish: Node, message: Message, earlier: list[Message], ends: list[Node]
) -> bool:
    """Tell whether its publisher sends the same again, or somebody else does by chance."""
    if _received(publish, ends):
        return False
    return _sent(publish, earlier) or not message.identity.is_unique


def _received(publish: Node, ends: Iterable[Node]) -> list[Node]:
    """Return those of these deliveries that were to the connection that published."""
    return [each for each in ends if is_same(each.place.connection, publish.place.connection)]


def _are_of_one_copy(publish: Node, ends: list[Node]) -> bool:
    """Tell whether these deliveries are those of one copy, so that the last one counts.

    One that is delivered again while it is sent on may have been sent on by either.
    """
    copies = {each.copy for each in ends}
    surely = all(each.at + lateness(each, publish) <= publish.at for each in ends)
    return len(copies) == 1 and None not in copies and surely


def _sent(publish: Node, messages: Iterable[Message]) -> bool:
    """Tell whether one of these messages is from the connection that published, too."""
    return any(is_same(each.sender, publish.place.connection) for each in messages)


def _before(publish: Node, ends: Iterable[Node]) -> list[Node]:
    """Return those that were before a publish, as far as the order of several channels says.

    In doubt a delivery to its own client counts as before it, one to another as after it.
    """
    return [each for each in ends if each.at <= publish.at + _leeway(each, publish)]


def _leeway(end: Node, publish: Node) -> float:
    late = lateness(end, publish)
    # Those of one channel, nearly all, have none: how close they are need not be known.
    return late if not late or _closeness(end, publish) else -late


def _without(message: Message, messages: Iterable[Message]) -> list[Message]:
    return [each for each in messages if each is not message]


def _is_awaited(end: Node) -> bool:
    """Tell whether it is the delivery of an answer, on the connection that asked."""
    return end.message is not None and is_same(end.message.asker, end.place.connection)


def _is_above(publish: Node, end: Node) -> bool:
    """Tell whether a delivery comes from the publish itself."""
    return publish in takewhile(partial(_may_follow, publish), upward(end))


def _may_follow(publish: Node, node: Node) -> bool:
    # The broker gives a death's time in whole seconds: it may seem to be before its publish.
    return node.at >= publish.at or node.kind == "dead_letter"


def is_below(node: Node, publish: Node) -> bool:
    """Tell whether a publish led to an event, by however many steps.

    Only events that are joined at about the same time can lead to each other.
    """
    return publish in takewhile(partial(_is_joined_with, publish), upward(node))


def _is_joined_with(publish: Node, node: Node) -> bool:
    # Deaths and runs have the times of other clocks.
    return node.kind in ("dead_letter", "run") or node.at >= publish.at - _SAME_TIME


def _is_only_one(messages: list[Message], ends: list[Node]) -> bool:
    """Tell whether nothing but this delivery can be meant: of one message, to one queue."""
    return len(messages) == 1 and len(ends) == 1 and len(messages[0].copies) <= 1


def _last(ends: list[Node], publish: Node) -> Choice | None:
    """Choose of the deliveries before the publish, if there are any."""
    before = _before(publish, ends)
    return _nearest_of(before, publish) if before else None


def _nearest_of(ends: list[Node], publish: Node) -> Choice:
    """Choose the latest before the publish, of those that are nearest to its channel."""
    before = _before(publish, ends)
    # An event may come before that of its cause, but hardly by much.
    chosen = before or [min(ends, key=attrgetter("at"))]
    best = max(chosen, key=lambda each: (_closeness(each, publish), each.at <= publish.at, each.at))
    return Choice(best, _BY_CLOSENESS[_closeness(best, publish)], inferred=True)


def _closeness(end: Node, publish: Node) -> int:
    """Return 3 for the same channel, 2 for the same connection, 1 for the same client, else 0."""
    its, ours = end.place, publish.place
    if is_same(its.connection, ours.connection):
        return 3 if its.channel == ours.channel else 2
    return int(its.user == ours.user and is_same(its.host, ours.host))


def is_same(some: str | None, other: str | None) -> bool:
    """Tell whether both are known, and the same."""
    return some is not None and some == other
