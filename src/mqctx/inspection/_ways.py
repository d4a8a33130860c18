"""Find the way of a dead letter back to its queue, with its routing key.

Published straight to its queue, a message has the queue's name as its routing key: then a second
failure may be dropped by a dead-letter exchange that knows the first key alone. Through the
exchange that it came by, other queues get it too. So it goes through that exchange only if no other
queue does, and else to the default exchange with its old routing key and, as `BCC`, its queue:
RabbitMQ delivers it there, and removes the header.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from mqctx.inspection._management import ManagementError
from mqctx.inspection._message import Message
from mqctx.inspection._queues import Queues
from mqctx.inspection._routes import UNKNOWN, Route

__all__ = ["NoWayError", "Origin", "Way", "Ways", "origin_of"]

_DEFAULT: Final = ""
_MOST_KNOWN: Final = 10_000
_Ask: TypeAlias = Callable[[str, Sequence[str], Mapping[str, Any]], Route]
"""Returns the route by an exchange."""


class NoWayError(Exception):
    """Nothing says where a message came from, or that place is gone."""


class Origin(msgspec.Struct, frozen=True):
    """The place that a message goes back to. Without `queue`, wherever the exchange sends it."""

    queue: str | None
    exchange: str | None
    routing_key: str | None
    by: str
    """The source of this: `x-death`, `mqctx-failure`, another library's name, or an option."""

    @property
    def through(self) -> str:
        """The exchange, the default one if none is known."""
        return self.exchange or _DEFAULT


_NOWHERE: Final = Origin(None, None, None, "")


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
        return tuple(filter(None, (self.queue, *(self.also or ()))))

    @property
    def loses_second(self) -> bool:
        """Whether the queue dead-letters into nothing."""
        return self.second == () and self.dead_letter_exchange is not None


class Ways:
    """Finds the way of each message.

    Args:
        queues: Facts about the queues of the broker.
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
            NoWayError: nothing says where that is, or no queue would get it there.
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
        self._remember(origin, way)
        return way

    def _check(self, way: Way) -> None:
        """Raise `NoWayError` if a way ends nowhere."""
        if not self._queues.has_exchange(way.exchange):
            raise NoWayError(f"there is no exchange {way.exchange!r}, through which it came")
        if (way.queue, way.also) == (None, ()):
            raise NoWayError("no queue gets it")

    def _remember(self, origin: Origin, way: Way) -> None:
        # If headers decide, two messages from one place may go two ways.
        if self._routes.needs_headers:
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[origin] = way

    def _with_key(self, target: Origin, message: Message) -> Origin:
        """Return a target with the routing key that a message had, if it names none."""
        if target.routing_key is not None:
            return target
        key = _told(message, self._source).routing_key or message.routing_key
        return msgspec.structs.replace(target, routing_key=key)

    def _candidates(self, origin: Origin, message: Message) -> Iterator[Way]:
        """Yield the ways from the one that changes least; there is always one."""
        key = origin.routing_key
        if origin.queue is None:
            yield self._way(origin, origin.through, key or message.routing_key, message)
            return
        if key is not None:
            yield from self._with_old_key(origin.queue, key, origin, message)
        yield self._way(origin, _DEFAULT, origin.queue, message)

    def _with_old_key(
        self, queue: str, key: str, origin: Origin, message: Message
    ) -> Iterator[Way]:
        """Yield the ways to a queue that leave a message its routing key."""
        reached = self._reach(self._routes.published, origin.through, (key,), message)
        if reached == Route(frozenset((queue,))):
            yield self._way(origin, origin.through, key, message)
        if key != queue:
            yield self._way(origin, _DEFAULT, key, message, bcc=(queue,))

    def _reach(self, ask: _Ask, exchange: str, keys: Sequence[str], message: Message) -> Route:
        try:
            return ask(exchange, keys, message.headers)
        except ManagementError:
            return UNKNOWN

    def _way(
        self,
        origin: Origin,
        exchange: str,
        key: str,
        message: Message,
        *,
        bcc: tuple[str, ...] = (),
    ) -> Way:
        keys = (key, *bcc)
        reached = self._reach(self._routes.of, exchange, keys, message)
        also = reached.names(but=origin.queue)
        way = Way(origin.queue, exchange, key, origin.by, bool(bcc), also)
        return way if origin.queue is None else self._with_second(way, origin.queue, keys, message)

    def _with_second(self, way: Way, queue: str, keys: Sequence[str], message: Message) -> Way:
        """Return a way that tells where a message ends that fails in its queue."""
        facts = self._queues.facts(queue)
        exchange = facts.setting("dead-letter-exchange")
        if exchange is None:
            return msgspec.structs.replace(way, second=None if facts.type is None else ())
        # Without a key of its own, a queue dead-letters with those that the message came by.
        own = facts.setting("dead-letter-routing-key")
        dead_keys = keys if own is None else (str(own),)
        reached = self._reach(self._routes.of, str(exchange), dead_keys, message)
        return msgspec.structs.replace(
            way, second=reached.names(), dead_letter_exchange=str(exchange)
        )


def origin_of(message: Message, source: str) -> Origin:
    """Return where a message came from: its newest death in another queue, else its failure.

    Raises:
        NoWayError: neither says.
    """
    origin = _told(message, source)
    if origin is _NOWHERE:
        raise NoWayError("nothing tells where it came from; name a queue with --to")
    return origin


def _told(message: Message, source: str) -> Origin:
    death = next((each for each in message.deaths if each.queue != source), None)
    if death is None:
        return _told_by_failure(message.failure or {}, source)
    return Origin(death.queue, death.exchange, next(iter(death.routing_keys), None), "x-death")


def _told_by_failure(failure: Mapping[str, Any], source: str) -> Origin:
    """Return where a message came from, as the record of its failure says."""
    queue, exchange, key = map(failure.get, ("queue", "exchange", "routing_key"))
    if queue == source:
        queue = None  # the dead-letter queue itself had a handler, and that failed
    if queue is None and None in (exchange, key):
        return _NOWHERE
    return Origin(queue, exchange, key, str(failure.get("system", "mqctx-failure")))


def _harm(way: Way) -> int:
    """Return 0 if a way does no harm, 1 if a second failure may be lost, 2 if others get it too."""
    if way.also != ():
        return 2
    return int(way.loses_second)
