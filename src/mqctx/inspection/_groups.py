"""Count messages by what they have in common, in memory that grows with the groups alone."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from mqctx.inspection._distinct import Distinct, Room
from mqctx.inspection._message import Message
from mqctx.inspection._moments import Period
from mqctx.inspection._where import as_text, values_of
from mqctx.inspection._why import why

__all__ = ["Group", "Grouping", "Groups"]

_ROOM: Final = 200_000  # hashes of request ids, in some 20 MB
_MOST_GROUPS: Final = 500
"""A name with more groups is no choice of ours: ids, and the like."""
_IDS: Final = ("request_id", "trace_id")
_MOST_CANDIDATES: Final = 20
_MOST_NAMES: Final = 100
_OTHERS: Final = "others"
_NEVER_CHOSEN: Final = frozenset(("span_id", "trace_flags", "tracestate"))


class _Names(NamedTuple):
    """The names by which the messages of a group are counted."""

    reason: str | None
    """How the broker says it died, the newest death."""
    origin: str | None
    """The queue that it died in."""
    failure: str | None
    """The type of its failure."""
    why: str
    """Why it died, in a line for each way."""


class _Counted(NamedTuple):
    """The parts of a message that are counted, whichever group it is in."""

    bytes: int
    request: int | None
    at: str | None
    names: _Names


def _counted(message: Message) -> _Counted:
    request = message.plain_context.get("request_id")
    reason = message.deaths[0].reason if message.deaths else None
    return _Counted(
        len(message.body),
        None if request is None else hash(as_text(request)),
        message.at,
        _Names(reason, message.came_from, *why(message)),
    )


class _ByKind(NamedTuple):
    """How often each name of a kind occurred, under the fields of `_Names`."""

    reason: "Counter[str]"
    origin: "Counter[str]"
    failure: "Counter[str]"
    why: "Counter[str]"


class _Counters:
    """How often each name occurred. Most messages have names that others had together, too."""

    __slots__ = ("_by_kind", "_new")

    def __init__(self) -> None:
        self._by_kind = _ByKind(Counter(), Counter(), Counter(), Counter())
        self._new: dict[_Names, int] = {}

    def add(self, names: _Names) -> None:
        """Count the names of a message."""
        self._new[names] = self._new.get(names, 0) + 1
        if len(self._new) > _MOST_NAMES:
            self.by_kind()

    def merge(self, other: "_Counters") -> None:
        """Count the names of other messages, too."""
        for counter, others in zip(self.by_kind(), other.by_kind(), strict=True):
            for name, count in others.items():
                _count(counter, name, count)

    def by_kind(self) -> _ByKind:
        """Return how often each name occurred."""
        for names, count in self._new.items():
            for counter, name in zip(self._by_kind, names, strict=True):
                if name is not None:
                    _count(counter, name, count)
        self._new.clear()
        return self._by_kind


def _count(counter: "Counter[str]", name: str, count: int) -> None:
    """Count a name of which strangers may send any number."""
    counter[name if name in counter or len(counter) < _MOST_NAMES else _OTHERS] += count


class Group:
    """Messages that have the same values under the names of the grouping."""

    __slots__ = ("_names", "_period", "bytes", "messages", "requests", "values")

    def __init__(self, values: tuple[Any, ...], requests: Distinct) -> None:
        self.values: tuple[Any, ...] = values
        self.messages: int = 0
        self.bytes: int = 0
        self.requests: Distinct = requests
        """The number of distinct request ids."""
        self._period = Period()
        self._names = _Counters()

    @property
    def first(self) -> str | None:
        """When the first of them died."""
        return self._period.first

    @property
    def last(self) -> str | None:
        """When the last of them died."""
        return self._period.last

    @property
    def reasons(self) -> "Counter[str]":
        """How the broker says they died, the newest death of each."""
        return self._names.by_kind().reason

    @property
    def origins(self) -> "Counter[str]":
        """The queues that they died in."""
        return self._names.by_kind().origin

    @property
    def failures(self) -> "Counter[str]":
        """The types of the failures."""
        return self._names.by_kind().failure

    @property
    def whys(self) -> "Counter[str]":
        """Why they died, in a line for each way."""
        return self._names.by_kind().why

    def add(self, counted: _Counted, room: Room) -> None:
        """Count a message."""
        self.messages += 1
        self.bytes += counted.bytes
        if counted.request is not None:
            room.add(self.requests, counted.request)
        self._period.add(counted.at)
        self._names.add(counted.names)

    def merge(self, other: "Group", room: Room) -> None:
        """Count the messages of another group, too."""
        self.messages += other.messages
        self.bytes += other.bytes
        room.merge(self.requests, other.requests)
        self._period.merge(other._period)
        self._names.merge(other._names)

    def as_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the group as the object that `mqctx inspect --by NAME --json` prints."""
        return {
            "group": dict(zip(names, self.values, strict=True)),
            "messages": self.messages,
            "requests": self.requests.count(),
            "bytes": self.bytes,
            "first": self.first,
            "last": self.last,
            "reasons": dict(self.reasons.most_common()),
            "failures": dict(self.failures.most_common()),
        }


class Grouping:
    """Groups by the values under some names. A message without a name has None there."""

    def __init__(self, names: Sequence[str], room: Room | None = None) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self._room = Room(_ROOM) if room is None else room
        self._groups: dict[tuple[str | None, ...], Group] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Group]:
        """Yield the groups, the largest first."""
        return iter(sorted(self._groups.values(), key=lambda group: -group.messages))

    def add(self, message: Message) -> None:
        """Count a message."""
        values = tuple(next(values_of(message, name), None) for name in self.names)
        self.count(values, _counted(message))

    def count(self, values: tuple[Any, ...], counted: "_Counted") -> None:
        """Count a message that has these values."""
        self._group(values).add(counted, self._room)

    def begin_with(self, earlier: "Grouping") -> None:
        """Count the messages of all groups as those that lack the name."""
        for group in earlier:
            self._group((None,) * len(self.names)).merge(group, self._room)

    def _group(self, values: tuple[Any, ...]) -> Group:
        key = tuple(map(_key, values))
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(values, self._room.counter())
        return group

    def drop(self) -> None:
        """Give back the room of all groups."""
        for group in self._groups.values():
            self._room.drop(group.requests)


def _key(value: Any) -> str | None:
    return None if value is None else as_text(value)


class _Candidate(msgspec.Struct):
    """A name of the context that messages may be grouped by."""

    grouping: Grouping
    present: int = 0
    """How many messages have it."""


def _rank(candidate: _Candidate) -> tuple[bool, int, bool, int]:
    """Return what is less for a name that groups better. Ids come last of those that are alike."""
    groups = len(candidate.grouping)
    is_id = candidate.grouping.names[0] in _IDS
    return groups == 1, groups, is_id, -candidate.present


class Groups:
    """Groups by the name of the context that gives the fewest above one, found on the way.

    A name counts that at least half of the messages have; where none divides them, one that all
    share; without any context, the queue that they came from.
    """

    def __init__(self) -> None:
        self._room = Room(_ROOM)
        self._messages = 0
        self._by_origin = Grouping(["from"], self._room)
        self._candidates: dict[str, _Candidate | None] = {}

    def add(self, message: Message) -> None:
        """Count a message."""
        counted = _counted(message)
        for name in message.plain_context:
            if name not in self._candidates and name not in _NEVER_CHOSEN:
                self._begin(name)
        for name, candidate in self._candidates.items():
            if candidate is not None:
                self._add(name, candidate, message, counted)
        self._by_origin.count((counted.names.origin,), counted)
        self._messages += 1

    def _begin(self, name: str) -> None:
        if len(self._candidates) < _MOST_CANDIDATES:
            grouping = Grouping([name], self._room)
            grouping.begin_with(self._by_origin)
            self._candidates[name] = _Candidate(grouping)

    def _add(self, name: str, candidate: _Candidate, message: Message, counted: _Counted) -> None:
        candidate.present += name in message.plain_context
        candidate.grouping.count((next(values_of(message, name), None),), counted)
        if len(candidate.grouping) > _MOST_GROUPS:
            candidate.grouping.drop()
            self._candidates[name] = None

    @property
    def chosen(self) -> Grouping:
        """The groups to show."""
        least = self._messages / 2
        sound = [c for c in self._candidates.values() if c is not None and c.present >= least]
        best = min(sound, key=_rank, default=None)
        return self._by_origin if best is None else best.grouping

    @property
    def others(self) -> list[str]:
        """The other names that messages can be grouped by."""
        return [name for name in self._candidates if name not in self.chosen.names]
