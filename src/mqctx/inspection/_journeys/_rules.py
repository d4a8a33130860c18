"""Which event a publish came from: the rules, in the order in which they are tried."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from mqctx.inspection._journeys._messages import Messages
from mqctx.inspection._journeys._model import Message, Node, deliveries_of
from mqctx.inspection._journeys._runs import Runs

__all__ = ["Choice", "Rules", "is_below"]

_SETTLING: Final = ("mqctx-failure", "mqctx-redrive")
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
        self._tapped = tapped

    def choose(self, publish: Node, message: Message) -> Choice:
        """Return what the first rule says that fits."""
        for rule in (self._sent_on, self._reply, self._run, self._span, self._root):
            choice = rule(publish, message)
            if choice is not None:
                return choice
        return self._nearest(publish, message)

    def _sent_on(self, publish: Node, message: Message) -> Choice | None:
        """A message that is sent on unchanged, by whom it was delivered to."""
        earlier = self._messages.same_as(message)
        ends = self._ends(earlier, publish)
        if not ends:
            return None
        here = [each for each in ends if is_same(each.connection, publish.connection)]
        from_sender = any(is_same(each.sender, publish.connection) for each in earlier)
        if len(ends) == 1 and (_is_settling(publish) or (here and not from_sender)):
            return Choice(ends[0], "message", inferred=not message.identity.is_unique)
        before = [each for each in ends if each.at <= publish.at]
        if not before or (not here and (from_sender or not message.identity.is_unique)):
            return None  # its publisher sends the same again, or a stranger does
        return _nearest_of(before, publish)

    def _reply(self, publish: Node, message: Message) -> Choice | None:
        """An answer, which goes where the request said, with the request's correlation id."""
        event = publish.event
        if event is None or event.exchange or not event.routing_keys:
            return None
        found = self._messages.awaiting(event.routing_keys[0], event.correlation_id)
        requests = [each for each in found if each is not message]
        if requests:
            message.asker = requests[-1].sender
        return self._from(publish, requests, "reply")

    def _run(self, publish: Node, message: Message) -> Choice | None:
        """A message that a handler's own record names."""
        run = self._runs.that_published(message)
        if run is None or is_below(run, publish):
            return None
        return Choice(run, "run", run.inferred)

    def _span(self, publish: Node, message: Message) -> Choice | None:
        """A message that names the span in which it was published."""
        if message.parent_span is not None:
            return self._from(publish, self._messages.of_span(message.parent_span), "span")
        # Whoever knows no spans may still send on the headers that came in.
        others = [each for each in self._messages.of_span(message.span) if each is not message]
        ends = self._ends(others, publish)
        if not ends or any(is_same(each.sender, publish.connection) for each in others):
            return None
        if _is_only_one(others, ends) and is_same(ends[0].connection, publish.connection):
            return Choice(ends[0], "span")
        return _nearest_of(ends, publish)

    def _root(self, publish: Node, message: Message) -> Choice | None:
        """A message that no delivery led to, as far as its sender tells."""
        for group in message.groups:
            if message.parent_span is not None:
                if message.parent_span in group.root_spans:
                    return Choice(None)
            elif publish.connection in group.root_connections:
                return Choice(None, inferred=True)
        return None

    def _nearest(self, publish: Node, message: Message) -> Choice:
        """The delivery of the same request that is nearest to it."""
        for group in message.groups:
            ends = [each for each in group.ends if each.message is not message]
            before = [each for each in ends if each.at <= publish.at]
            # Whoever asked goes on when the answer comes: what is sent then came from what made
            # him ask.
            if chosen := [each for each in before if not _is_awaited(each)] or before:
                return _nearest_of(chosen, publish)
        return Choice(None)

    def _from(self, publish: Node, messages: list[Message], rule: str) -> Choice | None:
        """Join it to the delivery of one of these messages."""
        ends = self._ends(messages, publish)
        if ends:
            if _is_only_one(messages, ends):
                return Choice(ends[0], rule)
            return _nearest_of(ends, publish)
        # No delivery of it can be seen: a direct reply, say, or the event was dropped.
        known = [each.publish for each in messages if each.publish]
        return Choice(known[-1], rule, inferred=True) if known else None

    def _ends(self, messages: Iterable[Message], publish: Node) -> list[Node]:
        """Return what may have led to a publish: the deliveries of these messages."""
        if self._tapped:
            ends = [each.publish for each in messages if each.publish]
        else:
            ends = deliveries_of(messages)
        return [each for each in ends if not _is_above(publish, each)]


def _is_awaited(end: Node) -> bool:
    """Tell whether it is the delivery of an answer, on the connection that asked."""
    return end.message is not None and is_same(end.message.asker, end.connection)


def _is_settling(publish: Node) -> bool:
    """Tell whether it is a copy that a handler, or a redrive, made of what it received."""
    return publish.event is not None and any(each in publish.event.headers for each in _SETTLING)


def _is_above(publish: Node, end: Node) -> bool:
    """Tell whether a delivery is what came of the publish itself."""
    above: Node | None = end
    while above is not None and (above.at >= publish.at or above.kind == "dead_letter"):
        if above is publish:
            return True
        above = above.parent
    return False


def is_below(node: Node, publish: Node) -> bool:
    """Tell whether a publish led to an event, by however many steps.

    Only events that are joined at about the same time can lead to each other.
    """
    then = publish.at - _SAME_TIME
    above: Node | None = node
    while above is not None and above is not publish:
        by_our_clock = above.kind in ("publish", "delivery")
        above = None if by_our_clock and above.at < then else above.parent
    return above is not None


def _is_only_one(messages: list[Message], ends: list[Node]) -> bool:
    """Tell whether nothing but this delivery can be meant: of one message, to one queue."""
    return len(messages) == 1 and len(ends) == 1 and len(messages[0].copies) <= 1


def _nearest_of(ends: list[Node], publish: Node) -> Choice:
    """Choose the latest before the publish, of those that are nearest to its channel."""
    before = [each for each in ends if each.at <= publish.at]
    # An event may come before that of its cause, but hardly by much.
    chosen = before or [min(ends, key=lambda each: each.at)]
    best = max(chosen, key=lambda each: (_closeness(each, publish), each.at))
    return Choice(best, _BY_CLOSENESS[_closeness(best, publish)], inferred=True)


def _closeness(end: Node, publish: Node) -> int:
    """Return 3 for the same channel, 2 for the same connection, 1 for the same client, else 0."""
    if is_same(end.connection, publish.connection):
        return 3 if end.channel == publish.channel else 2
    return int(end.user == publish.user and is_same(address(end), address(publish)))


def is_same(some: str | None, other: str | None) -> bool:
    """Tell whether both are known, and the same."""
    return some is not None and some == other


def address(node: Node) -> str | None:
    """Return the host that a client is on, of a name such as `10.0.0.7:4711 -> 10.0.0.1:5672`."""
    return node.connection and node.connection.partition(" ")[0].rpartition(":")[0]
