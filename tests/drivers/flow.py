"""A flow of messages, each in a context of its own, and the record of what became of each.

The client parts take numbers to publish and give notice of what happened; they know of no
fault but the one that they must commit themselves. All methods are for any thread.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from mqctx import bind, current
from tests.drivers.handling import context_of

Role = Literal["publisher", "consumer"]
ROLES: tuple[Role, ...] = ("publisher", "consumer")

FLOW_SECONDS = 120.0
"""How long anything in a flow may take before it is a failure."""

SLOWEST = 50
"""How many messages must get through in a second, on the slowest machine."""

NO_SUCH_TAG = 1_000_000
"""A delivery tag to ack where an error is wanted."""

AHEAD = 500
"""How many messages may be confirmed and not yet handled, before publishers wait."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """A handler saw another context than the one that its message was published in."""

    number: int
    expected: Mapping[str, object]
    seen: Mapping[str, object]


@dataclass(slots=True)
class Record:
    """The fate of the messages."""

    given: int = 0
    confirmed: set[int] = field(default_factory=set[int])
    handled: Counter[int] = field(default_factory=Counter[int])
    mixed: list[Mixed] = field(default_factory=list[Mixed])
    interrupted: Counter[Role] = field(default_factory=Counter[Role])

    def lost(self) -> set[int]:
        """Return the messages that were confirmed and never handled."""
        return self.confirmed - self.handled.keys()

    def settled(self) -> bool:
        """Whether all messages that were given out are confirmed and handled."""
        return len(self.confirmed) == self.given and not self.lost()


class Flow:
    """Messages through one queue of one broker, as its publishers and consumers see it."""

    def __init__(self, url: str, queue: str, arguments: dict[str, Any] | None = None) -> None:
        """Publish to, and declare, the durable `queue` with these `arguments`."""
        self.url = url
        self.queue = queue
        self.arguments = arguments
        self.record = Record()
        self._changed = threading.Condition()
        self._held = self._stopped = False
        self._failure: BaseException | None = None
        self._to_spoil: set[Role] = set()

    def take(self) -> int | None:
        """Return the number of the next message to publish, or None if there are no more."""
        numbers = self.take_some(1)
        return numbers[0] if numbers else None

    def take_some(self, count: int) -> list[int]:
        """Wait until more may be published; return `count` numbers, none if there are no more."""
        with self._changed:
            self._await(lambda: self._stopped or not (self._held or self._is_ahead()))
            if self._stopped:
                return []
            first, self.record.given = self.record.given, self.record.given + count
            return list(range(first, self.record.given))

    def confirm(self, number: int) -> None:
        """Note that the broker confirmed a message."""
        with self._changed:
            self.record.confirmed.add(number)
            self._changed.notify_all()

    @contextmanager
    def handling(self, body: bytes | str) -> Iterator[None]:
        """Be what a handler does: compare what is active, and add to it."""
        number = int(body)
        self._compare(number, context_of(number))
        bind(step=number)
        try:
            yield
        finally:
            self._compare(number, context_of(number) | {"step": number})
        with self._changed:
            self.record.handled[number] += 1
            self._changed.notify_all()

    def interrupted(self, role: Role) -> None:
        """Note that a client lost its connection, channel or consumer, and goes on."""
        with self._changed:
            self.record.interrupted[role] += 1
            self._changed.notify_all()

    def must_spoil(self, role: Role) -> bool:
        """Whether the client should break its own channel now; it is told so once."""
        with self._changed:
            told = role in self._to_spoil
            self._to_spoil.discard(role)
            return told

    @property
    def finished(self) -> bool:
        """Whether consumers may stop."""
        return self._failure is not None or (self._stopped and self.record.settled())

    def join(self) -> None:
        """Wait until consumers may stop."""
        with self._changed:
            self._await(lambda: self.finished)

    def spoil(self, role: Role) -> None:
        """Make a client break its channel, and wait until that interrupted it."""
        with self._changed:
            before = self.record.interrupted[role]
            self._to_spoil.add(role)
            self._await(lambda: self.record.interrupted[role] > before)

    def advance(self, step: int) -> None:
        """Wait until `step` messages more than now are confirmed and handled."""
        with self._changed:
            goals = [len(each) + step for each in self._progress()]
            self._await(
                lambda: all(len(e) >= g for e, g in zip(self._progress(), goals, strict=True)),
                FLOW_SECONDS + step / SLOWEST,
            )

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the publishers, with all that they published handled, during the block."""
        with self._changed:
            self._held = True
            self._await(self.record.settled)
        yield
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def stop(self) -> None:
        """Let the publishers end, and the consumers once all that was confirmed is handled."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """End the flow; whoever waits for it raises `error`."""
        with self._changed:
            self._failure = self._failure or error
            self._stopped = True
            self._changed.notify_all()

    def _progress(self) -> tuple[set[int], Counter[int]]:
        return self.record.confirmed, self.record.handled

    def _is_ahead(self) -> bool:
        return len(self.record.confirmed) - len(self.record.handled) >= AHEAD

    def _compare(self, number: int, expected: Mapping[str, object]) -> None:
        if current() != expected:
            with self._changed:
                self.record.mixed.append(Mixed(number, expected, current()))

    def _await(self, condition: Callable[[], bool], seconds: float = FLOW_SECONDS) -> None:
        done = self._changed.wait_for(lambda: self._failure is not None or condition(), seconds)
        if self._failure is not None:
            raise self._failure
        if not done:
            raise TimeoutError(f"nothing moves in the flow: {self._told()}")

    def _told(self) -> str:
        record = self.record
        return (
            f"{record.given} given, {len(record.confirmed)} confirmed, "
            f"{len(record.handled)} handled, {len(record.mixed)} mixed, {record.interrupted}"
        )
