"""The order of events that came through several channels, of which each keeps only its own."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from msgspec.structs import replace

from mqctx.inspection._journeys._copies import MOST_COMPARED, origins_of
from mqctx.inspection._journeys._model import LATE
from mqctx.inspection._journeys._told import Event, RunReport

__all__ = ["Order"]


class Order:
    """Hold events for a while, and put before each of them what must have happened before it.

    Those that came through one channel stay as they are.
    """

    def __init__(self) -> None:
        self._held: deque[Event | RunReport] = deque()
        self._same: dict[int, deque[Event]] = {}
        """Those that are not handed out yet, by what tells messages apart."""

    def add(self, event: Event | RunReport) -> None:
        """Hold an event that came after the others."""
        self._held.append(event)
        if isinstance(event, Event):
            self._same.setdefault(event.identity.key, deque()).append(event)

    def settled(self, now: float) -> Iterator[Event | RunReport]:
        """Hand out the events that are held for long enough."""
        while self._held and self._held[0].at + LATE <= now:
            event = self._held.popleft()
            if isinstance(event, RunReport):
                yield event
            else:
                yield from self._hand_out(event)

    def _hand_out(self, event: Event) -> Iterator[Event]:
        same = self._same.get(event.identity.key)
        if not same or same[0] is not event:
            return  # as it was handed out before
        same.popleft()
        late = [each for each in islice(same, MOST_COMPARED) if _must_be_before(event, each)]
        for each in sorted(late, key=_step):
            same.remove(each)
            yield replace(each, at=event.at, lane=event.lane)
        if not same:
            del self._same[event.identity.key]
        yield event


def _must_be_before(event: Event, other: Event) -> bool:
    """Tell whether an event came too early, through another channel than what led to it."""
    if event.lane == other.lane or _step(event) <= _step(other):
        return False
    queues = other.place.queues or (other.place.queue,)
    return not set(queues).isdisjoint(origins_of(event))


def _step(event: Event) -> tuple[bool, int, bool]:
    """Return how far a message had come: published, delivered, again, dead, delivered there."""
    if event.place.kind == "publish":
        return False, 0, False
    return True, sum(each.count for each in event.written.deaths), event.place.redelivered
