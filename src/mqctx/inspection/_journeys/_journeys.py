"""The journeys under way: what is held of each until it is quiet."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from mqctx.inspection._journeys._model import Journey, Node
from mqctx.inspection._journeys._records import Record, records_of

__all__ = ["Journeys"]

_MOST_HELD: Final = 5_000
"""Events of one journey that are held; one that never ends is handed out in parts."""


class Journeys:
    """Hold the events of journeys, in the order in which the journeys had their last ones."""

    def __init__(self) -> None:
        self._running: OrderedDict[int, Journey] = OrderedDict()
        self._full: list[Journey] = []

    def __len__(self) -> int:
        return len(self._running)

    def add(self, node: Node, journey: Journey) -> None:
        """Add an event that is joined for good."""
        node.is_held = True
        node.journey = journey
        journey.held.append(node)
        journey.last = max(journey.last, node.at)
        self._running[id(journey)] = journey
        self._running.move_to_end(id(journey))
        if len(journey.held) == _MOST_HELD:
            self._full.append(journey)

    def keep(self, journey: Journey | None, now: float) -> None:
        """Hold a journey, if it is under way, as if it had an event now."""
        if journey is not None and id(journey) in self._running:
            journey.last = now
            self._running.move_to_end(id(journey))

    def quiet_since(self, then: float) -> Iterator[list[Record]]:
        """Hand out the journeys without an event since `then`, and those that are too large."""
        full, self._full = self._full, []
        for journey in full:
            yield self._hand_out(journey)
        while self._running:
            journey = next(iter(self._running.values()))
            if journey.last > then:
                return
            yield self._hand_out(journey)

    def all(self) -> Iterator[list[Record]]:
        """Hand out all journeys."""
        for journey in list(self._running.values()):
            yield self._hand_out(journey)

    def _hand_out(self, journey: Journey) -> list[Record]:
        del self._running[id(journey)]
        records = records_of(journey)
        for node in journey.held:
            # Later events need neither what it was nor what it came from.
            node.event = node.report = node.parent = None
        journey.held = []
        journey.is_printed = True
        return records
