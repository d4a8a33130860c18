"""How many events were dropped: here, and by a queue of limited length, which does not count it.

Each publish and each delivery in a vhost makes one event, and RabbitMQ's statistics count both.
They are some seconds late, so that they tell nothing of a vhost that is busy: neither what was
there before us, nor what is there in the end.
"""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Final, NamedTuple, TypeAlias

from mqctx.inspection._journeys._backlog import Backlog

__all__ = ["Drops", "Tally"]

_LATE: Final = 10.5
"""Seconds after which statistics have what happened: told each 5 s, and gathered each 5 s."""
_MOST_LATE: Final = 30.0
"""Seconds for which statistics are waited for: a vhost that goes on never rests."""
_PAUSE: Final = 0.5


class Tally(NamedTuple):
    """The counts of a vhost in RabbitMQ's statistics."""

    events: int
    """How many publishes and deliveries they know of."""
    rests: bool
    """Whether nothing was new to them for some seconds."""


Statistics: TypeAlias = Callable[[], Tally | None]
"""Returns what RabbitMQ counted in a vhost; None if that is unknown, or once was."""


class Drops:
    """Count the events that were dropped.

    Args:
        limit: How many events the queue holds.
        backlog: Counts those that came, and those that it dropped itself.
        statistics: Returns RabbitMQ's own counts.
    """

    def __init__(self, limit: int, backlog: Backlog, statistics: Statistics) -> None:
        self.may_have_dropped = False
        """Whether RabbitMQ may have dropped any."""
        self.unread = 0
        """How many were left in the queue at the end."""
        self.waiting = 0
        """How many waited in the queue at the last look."""
        self._limit = limit
        self._backlog = backlog
        self._statistics = statistics
        self._received = 0
        self._before = 0

    def begin(self) -> None:
        """Note how many events there were before, which is known of a vhost that rests.

        The queue is there already, so that others are seen that receive the events, too.
        """
        before = self._statistics()
        if before is None or not before.rests:
            self._statistics = _unknown
        else:
            self._before = before.events

    def lose(self) -> None:
        """Note that the queue is gone: of what was in it, or on its way to us, nothing is known."""
        self.may_have_dropped = True
        self._statistics = _unknown

    def look(self, waiting: int) -> None:
        """Note how many events wait in the queue."""
        since = self._backlog.received - self._received
        self._received += since
        self.waiting = waiting
        self.may_have_dropped |= waiting + since >= self._limit

    def are_counted(self) -> bool:
        """Tell whether statistics have to say how many were dropped, and can."""
        return self.may_have_dropped and self._statistics() is not None

    def so_far(self) -> int | None:
        """Return how many events were dropped.

        Statistics that are late make this too few.
        """
        by_queue = self._by_queue(self._statistics())
        return None if by_queue is None else self._backlog.dropped + max(0, by_queue)

    def at_end(self) -> int | None:
        """Return how many events were dropped, once no more come; None if that is unknown.

        Waits for RabbitMQ's statistics if they are needed.
        """
        by_queue = self._by_queue(self._at_rest() if self.are_counted() else None)
        return None if by_queue is None or by_queue < 0 else self._backlog.dropped + by_queue

    def _by_queue(self, counted: Tally | None) -> int | None:
        """Return how many RabbitMQ dropped, and how many it kept."""
        if not self.may_have_dropped:
            return self.unread
        if counted is None:
            return None
        # Twice, for they count its delivery to us as well.
        return counted.events - self._before - 2 * self._backlog.received

    def _at_rest(self) -> Tally | None:
        """Return what the statistics count once they have everything."""
        sleep(_LATE)
        until = monotonic() + _MOST_LATE
        while (counted := self._statistics()) is not None and not counted.rests:
            if monotonic() > until:
                return None
            sleep(_PAUSE)
        return counted


def _unknown() -> None:
    return None
