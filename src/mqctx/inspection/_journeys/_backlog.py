"""Events that have come, and wait to be joined."""

from collections import deque
from collections.abc import Callable
from time import time
from typing import Final, TypeAlias

from mqctx.inspection._arrivals import Arrival
from mqctx.inspection._journeys._told import Event, RunReport

__all__ = ["Backlog"]

_MOST_BYTES: Final = 128 * 1024 * 1024

Read: TypeAlias = Callable[[Arrival, float], Event | RunReport | None]


class Backlog:
    """Hold at most `limit` events, and forget the oldest ones beyond, which are counted.

    To hold an event costs a tenth of what it takes to join it. So none has to be left to RabbitMQ,
    whose queue does not count what it drops.

    Args:
        limit: How many events are held.
        read: Returns what a message tells, given when it came; None if that is of no kind that
            matters.
        clock: Returns seconds since 1970.
    """

    def __init__(self, limit: int, read: Read, clock: Callable[[], float] = time) -> None:
        self._limit = limit
        self._read = read
        self._clock = clock
        self._held: deque[tuple[Arrival, float]] = deque()
        self._bytes = 0
        self.received = 0
        """How many events have come."""
        self.dropped = 0
        """How many of them were forgotten."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def taken(self) -> int:
        """How many events were handed out."""
        return self.received - self.dropped - len(self._held)

    @property
    def now(self) -> float:
        """The time up to which all that came was handed out, or dropped."""
        return self._held[0][1] if self._held else self._clock()

    def add(self, arrival: Arrival) -> None:
        """Hold an event that has just come."""
        self.received += 1
        self._held.append((arrival, self._clock()))
        self._bytes += arrival.size
        while len(self._held) > self._limit or self._bytes > _MOST_BYTES:
            self._oldest()
            self.dropped += 1

    def take(self, count: int) -> list[Event | RunReport]:
        """Return the oldest events, at most so many."""
        events = (self._read(*self._oldest()) for _ in range(min(count, len(self._held))))
        return [each for each in events if each is not None]

    def _oldest(self) -> tuple[Arrival, float]:
        oldest = self._held.popleft()
        self._bytes -= oldest[0].size
        return oldest
