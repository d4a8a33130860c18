"""Which journeys were asked for, and what all of them come to."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final

import msgspec

from mqctx.inspection._journeys._records import Record
from mqctx.inspection._where import Where

__all__ = ["Chosen"]

_FAILURE: Final = "mqctx-failure"
_MOST_REMEMBERED: Final = 50_000
_KINDS: Final = {
    "publish": "publishes",
    "delivery": "deliveries",
    "dead_letter": "dead_letters",
    "run": "runs",
}


class Chosen:
    """Choose whole journeys, of which one event fits all conditions, and count what they have.

    Args:
        where: The conditions.
        limit: After so many messages, choose no more journeys.
    """

    def __init__(self, where: Sequence[Where] = (), limit: float | None = None) -> None:
        self._where = where
        self._limit = inf if limit is None else limit
        self._journeys: dict[tuple[str | None, str], None] = {}
        """Those that were chosen, in the order in which they were."""
        self._counts: Counter[str] = Counter()
        self._without_context = 0

    @property
    def is_full(self) -> bool:
        """Whether there are as many messages as were asked for."""
        return self._counts["publishes"] >= self._limit

    def take(self, records: Sequence[Record]) -> bool:
        """Tell whether these events of one journey are to be shown."""
        self._without_context += sum(map(_is_without_context, records))
        if self.is_full or not self._is_chosen((records[0]["by"], records[0]["journey"]), records):
            return False
        self._counts.update(_KINDS[each["kind"]] for each in records)
        self._counts["inferred"] += sum(each["inferred"] for each in records)
        return True

    def _is_chosen(self, key: tuple[str | None, str], records: Sequence[Record]) -> bool:
        """Tell whether a journey fits, with these events or with earlier ones of it."""
        if key in self._journeys:
            return True
        if not any(map(self._fits, records)):
            return False
        self._counts["journeys"] += 1
        # The oldest is forgotten: a part of it that comes now would be counted anew.
        if len(self._journeys) >= _MOST_REMEMBERED:
            del self._journeys[next(iter(self._journeys))]
        self._journeys[key] = None
        return True

    def summary(
        self, seconds: float, events: int, dropped: int | None, untraced_nodes: Collection[str]
    ) -> Record:
        """Return the last object of the JSON."""
        counts: Iterable[str] = ("journeys", *_KINDS.values(), "inferred")
        return {
            "kind": "summary",
            "seconds": round(seconds, 3),
            "events": events,
            **{name: self._counts[name] for name in counts},
            "dropped": dropped,
            "without_context": self._without_context,
            "untraced_nodes": sorted(untraced_nodes),
        }

    def _fits(self, record: Record) -> bool:
        return all(each.matches(_View(record)) for each in self._where)


def _is_without_context(record: Record) -> bool:
    return record["kind"] == "publish" and not record["context"]


class _View(msgspec.Struct, frozen=True):
    """An event as the names of conditions see it: those of `mqctx inspect` mean the same here."""

    record: Record

    @property
    def plain_context(self) -> Mapping[str, Any]:
        """The context."""
        context: Mapping[str, Any] = self.record["context"]
        return context

    @property
    def failure(self) -> Mapping[str, Any] | None:
        """The reason why a handler dead-lettered it."""
        text = self.record.get("headers", {}).get(_FAILURE)
        if not isinstance(text, str):
            return None
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError:
            return None

    def as_json(self) -> dict[str, Any]:
        """The event as one JSON object."""
        record = self.record
        deaths = [record] if record["kind"] == "dead_letter" else []
        ids = {"id": record["message_id"]} if "message_id" in record else {}
        return {**record, **ids, "failure": self.failure, "deaths": deaths}
