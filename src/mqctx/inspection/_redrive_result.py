"""The plan or the result of a redrive: which messages go where, and which stay, and why."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from mqctx.inspection._message import Message
from mqctx.inspection._plain import name_shown
from mqctx.inspection._redrive_note import Interrupted
from mqctx.inspection._ways import Way

__all__ = ["Leg", "Result", "Stayed", "name_of"]

_MOST_NAMED: Final = 100
_MOST_KEYS: Final = 5


class Leg(msgspec.Struct):
    """The messages that go the same way, but for their routing keys."""

    way: Way
    messages: int = 0
    routing_keys: dict[str, None] = msgspec.field(default_factory=dict[str, None])
    """Some of them, in the order in which they came."""
    has_more_keys: bool = False


class Stayed(msgspec.Struct):
    """The messages that stay for one reason."""

    messages: int = 0
    names: list[str] = msgspec.field(default_factory=list[str])
    """Of the first hundred: the id, else the position in the queue."""


class Result(msgspec.Struct):
    """The result of a redrive. `at` is when it began."""

    queue: str
    run: str
    at: str
    there: int = 0
    """The messages that were in the queue."""
    looked: int = 0
    chosen: int = 0
    copied: int = 0
    """By `rescue`: those that now stand at the queue's end."""
    legs: dict[Way, Leg] = msgspec.field(default_factory=dict[Way, Leg])
    removed: Counter[str] = msgspec.field(default_factory=Counter[str])
    """The headers that the messages lose, and `expiration`, with their counts."""
    stayed: dict[str, Stayed] = msgspec.field(default_factory=dict[str, Stayed])
    """By reason."""
    twice: list[str] = msgspec.field(default_factory=list[str])
    """The messages that may have been sent twice."""
    under_way: list[str] = msgspec.field(default_factory=list[str])
    """The messages that may be in both places, if the run ended in the middle of it."""
    interrupted: list[Interrupted] = msgspec.field(default_factory=list[Interrupted])
    """Earlier runs that ended before they could say how."""
    again: list[str] = msgspec.field(default_factory=list[str])
    """The messages that one of those may have sent, and that are still here."""
    came_back: Counter[str] | None = None
    """By reason: those of this run that were dead-lettered again, if that was asked."""
    is_late: bool = False
    """Whether it ended early, before RabbitMQ takes the consumer for stuck."""
    unnoted: str | None = None
    """Why the next run could not tell what a killed one has sent twice."""

    @property
    def sent(self) -> int:
        """How many go, or went."""
        return sum(leg.messages for leg in self.legs.values())

    @property
    def kept(self) -> int:
        """How many of the chosen ones stay."""
        return sum(stayed.messages for stayed in self.stayed.values())

    def goes(self, way: Way, removed: list[str]) -> None:
        """Count a message that goes."""
        # One leg for all routing keys: behind a topic exchange there may be thousands.
        leg = self.legs.setdefault(msgspec.structs.replace(way, routing_key=""), Leg(way))
        leg.messages += 1
        if way.routing_key in leg.routing_keys or len(leg.routing_keys) < _MOST_KEYS:
            leg.routing_keys[way.routing_key] = None
        else:
            leg.has_more_keys = True
        self.removed.update(removed)

    def stays(self, message: Message, reason: str) -> None:
        """Count a message that stays."""
        stayed = self.stayed.setdefault(reason, Stayed())
        stayed.messages += 1
        if len(stayed.names) < _MOST_NAMED:
            stayed.names.append(name_of(message))

    @property
    def is_complete(self) -> bool:
        """Whether all messages were looked at, and all that were chosen went."""
        return not self.kept and not self.is_late

    def plan_as_json(self) -> Iterator[dict[str, Any]]:
        """Yield the objects that say what goes where, and what stays."""
        for run in self.interrupted:
            yield {
                "kind": "interrupted",
                "run": run.run,
                "at": run.at,
                "may_have_sent": len(run.messages),
                "still_here": self.again,
            }
        for leg in self.legs.values():
            way = leg.way
            yield {
                "kind": "plan",
                "queue": self.queue,
                "to": way.queue,
                "exchange": way.exchange,
                "routing_keys": [*map(name_shown, leg.routing_keys)],
                "by": way.by,
                "messages": leg.messages,
                "also": way.also,
                "dead_letter_exchange": way.dead_letter_exchange,
                "second_failure": way.second,
            }
        if self.removed:
            yield {"kind": "removed", "queue": self.queue, "messages": dict(self.removed)}
        for reason, stayed in self.stayed.items():
            yield {
                "kind": "stays",
                "queue": self.queue,
                "reason": reason,
                "messages": stayed.messages,
                "names": stayed.names,
            }

    def as_json(self) -> dict[str, Any]:
        """Return the object that says how a run ended."""
        return {
            "kind": "result",
            "queue": self.queue,
            "run": self.run,
            "at": self.at,
            "there": self.there,
            "chosen": self.chosen,
            "sent": self.sent,
            "stayed": self.kept,
            "may_be_twice": self.twice,
            "came_back": None if self.came_back is None else dict(self.came_back),
        }


def name_of(message: Message) -> str:
    """Return what a message is called: its id, else its position."""
    return message.id or f"#{message.position}"
