"""Where a dead letter goes back to, and how it gets there with its routing key.

Published straight to its queue, a message has the queue's name as its routing key: then a second
failure may be dropped by a dead-letter exchange that knows the first key alone. Through the
exchange that it came by, other queues get it too. So it goes through that exchange only if no other
queue does, and else to the default exchange with its old routing key and, as `BCC`, its queue:
RabbitMQ delivers it there, and removes the header.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from mqctx.inspection._management import ManagementError
from mqctx.inspection._message import Message
from mqctx.inspection._queues import Queues

__all__ = ["NoWayError", "Origin", "Way", "Ways", "origin_of"]

_DEFAULT: Final = ""
_MOST_KNOWN: Final = 10_000


class NoWayError(Exception):
    """Nothing tells where a message came from, or what tells it is there no more."""


class Origin(msgspec.Struct, frozen=True):
    """Where a message goes back to. Without `queue`, wherever the exchange sends it."""

    queue: str | None
    exchange: str | None
    routing_key: str | None
    by: str
    """What tells it: `x-death`, `mqctx-failure`, another library's name, or an option."""


class Way(msgspec.Struct, frozen=True):
    """How a message is published, and what comes of it."""

    queue: str | None
    """The queue that it goes back to, None if only the exchange is known."""
    exchange: str
    routing_key: str
    by: str
    is_by_bcc: bool = False
    """Whether the queue is named in `BCC`, so that the routing key can be the old one."""
    also: tuple[str, ...] | None = ()
    """The other queues that get a copy, None if nobody can tell."""
    second: tuple[str, ...] | None = None
    """The queues in which a second failure ends; None if nobody can tell."""
    dead_letter_exchange: str | None = None
    """Through which a second failure goes; None if the queue has none."""

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that are known to get it."""
        return tuple(each for each in (self.queue, *(self.also or ())) if each is not None)

    @property
    def loses_second(self) -> bool:
        """Whether the queue dead-letters into nothing."""
        return self.second == () and self.dead_letter_exchange is not None


class Ways:
    """Finds the way of each message.

    Args:
        queues: What is known of the broker.
        source: The queue that the messages are in.
    """

    def __init__(self, queues: Queues, source: str) -> None:
        self._queues = queues
        self._routes = queues.routes
        self._source = source
        self._known: dict[Origin, Way] = {}

    def of(self, message: Message, target: Origin | None = None) -> Way:
        """Return how a message goes to `target`, which is by default where it came from.

        Raises:
            NoWayError: nothing tells where that is, or no queue would get it there.
            ManagementError, BrokerError: the broker cannot be asked.
        """
        origin = self._with_key(target, message) if target else origin_of(message, self._source)
        known = self._known.get(origin)
        return self._find(origin, message) if known is None else known

    def _find(self, origin: Origin, message: Message) -> Way:
        """Return the way with the least harm, and remember it for all that came from there."""
        if origin.queue is not None and not self._queues.is_there(origin.queue):
            raise NoWayError(f"there is no queue {origin.queue!r}, where it came from")
        # Of ways that do as little harm, the first one.
        way = min(self._candidates(origin, message), key=_harm)
        self._check(way)
        # Where headers decide, two messages from one place may go two ways.
        if self._routes is None or not self._routes.needs_headers:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[origin] = way
        return way

    def _check(self, way: Way) -> None:
        """Raise `NoWayError` if a way ends nowhere."""
        if not self._queues.has_exchange(way.exchange):
            raise NoWayError(f"there is no exchange {way.exchange!r}, through which it came")
        if way.queue is None and way.also == ():
            raise NoWayError("no queue gets it")

    def _with_key(self, target: Origin, message: Message) -> Origin:
        """Return a target with the routing key that a message had, if it names none."""
        if target.routing_key is not None:
            return target
        try:
            key = origin_of(message, self._source).routing_key
        except NoWayError:
            key = None
        return msgspec.structs.replace(target, routing_key=key or message.routing_key)

    def _candidates(self, origin: Origin, message: Message) -> Iterator[Way]:
        """Yield the ways from the one that changes least; there is always one."""
        if origin.queue is None:
            key = origin.routing_key or message.routing_key
            yield self._way(origin, origin.exchange or _DEFAULT, key, message)
        else:
            yield from self._to_queue(origin.queue, origin, message)

    def _to_queue(self, queue: str, origin: Origin, message: Message) -> Iterator[Way]:
        exchange, key = origin.exchange, origin.routing_key
        if (
            exchange
            and key is not None
            and self._reach(exchange, (key,), message) == frozenset((queue,))
        ):
            yield self._way(origin, exchange, key, message)
        if key not in (None, queue):
            yield self._way(origin, _DEFAULT, str(key), message, is_by_bcc=True)
        yield self._way(origin, _DEFAULT, queue, message)

    def _reach(self, exchange: str, keys: Sequence[str], message: Message) -> frozenset[str] | None:
        """Return the queues that a message reaches, None if nobody can tell."""
        if exchange == _DEFAULT:
            return frozenset(filter(self._queues.has, keys))
        if self._routes is None:
            return None
        try:
            route = self._routes.of(exchange, keys, message.headers)
        except ManagementError:
            return None
        return route.queues if route.is_sure else None

    def _way(
        self, origin: Origin, exchange: str, key: str, message: Message, *, is_by_bcc: bool = False
    ) -> Way:
        keys = (key, origin.queue) if is_by_bcc and origin.queue else (key,)
        reached = self._reach(exchange, keys, message)
        second, through = None, None
        if origin.queue is not None:
            second, through = self._second(origin.queue, keys, message)
        also = None if reached is None else tuple(sorted(reached - {origin.queue}))
        return Way(origin.queue, exchange, key, origin.by, is_by_bcc, also, second, through)

    def _second(
        self, queue: str, keys: Sequence[str], message: Message
    ) -> tuple[tuple[str, ...] | None, str | None]:
        """Return where a message ends that fails in a queue, and through which exchange."""
        facts = self._queues.facts(queue)
        exchange = facts.setting("dead-letter-exchange")
        if facts.type is None:
            return None, None
        if exchange is None:
            return (), None
        # Without a key of its own, a queue dead-letters with those that the message came by.
        own = facts.setting("dead-letter-routing-key")
        reached = self._reach(str(exchange), keys if own is None else (str(own),), message)
        return None if reached is None else tuple(sorted(reached)), str(exchange)


def origin_of(message: Message, source: str) -> Origin:
    """Return where a message came from: its newest death in another queue, else its failure.

    Raises:
        NoWayError: neither tells.
    """
    for death in message.deaths:
        if death.queue != source:
            key = next(iter(death.routing_keys), None)
            return Origin(death.queue, death.exchange, key, "x-death")
    origin = _told_by_failure(message.failure or {}, source)
    if origin is None:
        raise NoWayError("nothing tells where it came from; name a queue with --to")
    return origin


def _told_by_failure(failure: Mapping[str, Any], source: str) -> Origin | None:
    """Return where a message came from, as the record of its failure tells, if it does."""
    queue, exchange, key = (failure.get(name) for name in ("queue", "exchange", "routing_key"))
    if queue == source:
        queue = None  # the dead-letter queue itself had a handler, and that failed
    if queue is None and (exchange is None or key is None):
        return None
    return Origin(queue, exchange, key, str(failure.get("system", "mqctx-failure")))


def _harm(way: Way) -> int:
    """Return 0 if a way does no harm, 1 if a second failure may be lost, 2 if others get it too."""
    if way.also != ():
        return 2
    return int(way.loses_second)
