"""How many events were dropped: a queue of limited length does not count what it drops.

Each publish and each delivery in a vhost makes one event, and RabbitMQ's statistics count both.
They are up to five seconds late, so that they are exact once the vhost rests; but no later than
the first moment at which the queue may have been full, whatever they say was there before us.
"""

from typing import Final

import msgspec

__all__ = ["LATE", "Drops"]

LATE: Final = 5.5
"""Seconds after which RabbitMQ's statistics have what happened: it gathers them each 5 s."""


class Drops(msgspec.Struct):
    """Count the events that were dropped from a queue that holds `limit` of them."""

    limit: int
    may_have_dropped: bool = False
    _before: int = -(2**63)
    _received: int = 0
    _earlier: int = 0

    def look(self, waiting: int, received: int, counted: int | None) -> None:
        """Note how many events wait and were received, and what the statistics count.

        They count each event, and its delivery to us as well.
        """
        since = received - self._received
        self._received = received
        if waiting + since >= self.limit:
            self.may_have_dropped = True
        elif not self.may_have_dropped and counted is not None:
            # Twice: each event was published to us by the broker, and delivered to us. The highest
            # so far, since statistics that are late count too little.
            self._before = max(self._before, counted - 2 * received - waiting)

    def count(self, received: int, counted: int | None) -> int | None:
        """Return how many were dropped; None if that cannot be told."""
        if not self.may_have_dropped:
            return 0
        if counted is None or self._before == -(2**63):
            return None
        return max(0, counted - 2 * received - self._before)
