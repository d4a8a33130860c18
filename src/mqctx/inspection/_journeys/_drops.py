"""How many events were dropped: here, and by a queue of limited length, which does not count it.

Each publish and each delivery in a vhost makes one event, and RabbitMQ's statistics count both.
They are up to five seconds late, so that they are exact while the vhost rests: then they tell
what was there before us. Where it never did, that is estimated, no later than at the first moment
at which the queue may have been full.
"""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Final, TypeAlias

from mqctx.inspection._journeys._backlog import Backlog

__all__ = ["Drops"]

_LATE: Final = 5.5
"""Seconds after which RabbitMQ's statistics have what happened: it gathers them each 5 s."""
_MOST_LATE: Final = 30.0
"""Seconds for which statistics are waited for: a vhost that goes on never rests."""
_BETWEEN: Final = 2.0
_PAUSE: Final = 0.2

Statistics: TypeAlias = Callable[[], int | None]
"""Returns how many publishes and deliveries a vhost had; None if that cannot be told."""


class Drops:
    """Count the events that were dropped.

    Args:
        limit: How many events the queue holds.
        backlog: Counts those that came, and those that it dropped itself.
        statistics: What RabbitMQ counts.
    """

    def __init__(self, limit: int, backlog: Backlog, statistics: Statistics) -> None:
        self.may_have_dropped = False
        """Whether RabbitMQ may have dropped any."""
        self.unread = 0
        """How many were left in the queue in the end."""
        self.waiting = 0
        """How many waited in the queue at the last look."""
        self._limit = limit
        self._backlog = backlog
        self._statistics = statistics
        self._next = 0.0
        self._received = 0
        self._counted: int | None = None
        self._before: int | None = None
        self._before_at_rest: int | None = None
        self._last_asked: tuple[int | None, int] = (None, 0)

    def look(self, waiting: Callable[[], int]) -> int | None:
        """Ask how many events wait in the queue; return how many were dropped so far."""
        is_new = monotonic() > self._next
        counted = self._counted_now() if is_new else self._counted
        self.waiting = waits = waiting()
        since = self._backlog.received - self._received
        self._received += since
        self.may_have_dropped |= waits + since >= self._limit
        if not self.may_have_dropped:
            # A busy queue has more on its way to it than it tells: as much as was counted the last
            # time is there by now. At rest, it has all.
            self._see(self._counted if waits or since else counted, waits)
            if is_new and not waits:
                self._see_rest(counted)
        self._counted = counted
        by_queue = self._by_queue(counted)
        return None if by_queue is None else self._backlog.dropped + max(0, by_queue)

    def _counted_now(self) -> int | None:
        self._next = monotonic() + _BETWEEN
        return self._statistics()

    def _see(self, counted: int | None, waits: int) -> None:
        """Note how many were counted before us: the most so far, as late statistics lack some."""
        if counted is not None:
            before = counted - 2 * self._received - waits
            self._before = before if self._before is None else max(self._before, before)

    def _see_rest(self, counted: int | None) -> None:
        """Note how many were counted before us if nothing has happened since that was asked."""
        asked, self._last_asked = self._last_asked, (counted, self._received)
        if counted is not None and asked == self._last_asked:
            self._before_at_rest = counted - 2 * self._received

    def _by_queue(self, counted: int | None) -> int | None:
        """Return how many RabbitMQ dropped. Statistics that lack some of it make this too few."""
        if not self.may_have_dropped:
            return self.unread
        before = self._before if self._before_at_rest is None else self._before_at_rest
        if counted is None or before is None:
            return None
        # Twice, for they count its delivery to us as well.
        return counted - 2 * self._backlog.received - before

    def at_end(self) -> int | None:
        """Return how many events were dropped, once no more come; None if that cannot be told.

        Waits for RabbitMQ's statistics if they are needed.
        """
        by_queue = self._by_queue(self._at_rest() if self.may_have_dropped else None)
        if by_queue is None or by_queue < 0:
            return None
        return self._backlog.dropped + by_queue

    def _at_rest(self) -> int | None:
        """Return what the statistics count, once they have everything."""
        now = monotonic()
        rest, until = now + _LATE, now + _MOST_LATE
        counted = self._statistics()
        while counted is not None and monotonic() < min(rest, until):
            sleep(_PAUSE)
            before, counted = counted, self._statistics()
            if counted != before:
                rest = monotonic() + _LATE
        return counted
