"""Values that were not restored, or not sent: the reasons, and the reports."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from operator import length_hint
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from mqctx._core.registry import registry
from mqctx._core.reports import report_once
from mqctx._core.values import describe, printable

if TYPE_CHECKING:
    import logging

Reason: TypeAlias = Literal[
    "wrong-type",  # the header is not text
    "malformed",  # the text is not what the format says
    "too-large",  # over the propagator's max_bytes
    "illegal-name",  # not a name that a context can have
    "illegal-value",  # a value that does not fit its variable, or nested too deep
    "local",  # a name that is declared local here
    "not-accepted",  # not on the propagator's accept list
    "unsigned",  # not signed at all, where only signed values count
    "forged",  # the signature does not match
    "expired",  # signed longer ago than is accepted
    "unknown-key",  # signed with a key that is not known here
    "error",  # the format itself failed
]


class Rejection(msgspec.Struct, frozen=True):
    """Something that was not restored or not sent, and why.

    `header` and `key` name the place (`key` is None for the whole header), `detail` says more. All
    are escaped and of bounded length; as text it is one printable line.
    """

    during: Literal["inject", "extract"]
    header: str
    key: str | None
    reason: Reason
    detail: str

    def __str__(self) -> str:
        where = self.header if self.key is None else f"{self.key} in {self.header}"
        outcome = "not restored from" if self.during == "extract" else "not sent in"
        # A format may be of unknown origin, and so may be its text.
        return printable(f"{where}: {outcome} the headers ({self.reason}): {self.detail}")


class RefusedError(Exception):
    """Something does not count, for a reason that is reported by the caller. Never leaves mqctx."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


Report: TypeAlias = Callable[[Rejection], None]

_SECONDS_BETWEEN_LINES: Final = 60.0


def logger() -> "logging.Logger":
    """Return mqctx's own logger."""
    import logging  # noqa: PLC0415 - takes longer than all of mqctx, and is seldom needed

    return logging.getLogger("mqctx")


def witness(rejection: Rejection) -> None:
    """Show a rejection to those who want to see each of them."""
    for see in registry.witnesses:  # a tuple: it is replaced, and never changes while we iterate
        see(rejection)


def report_to_log(rejection: Rejection) -> None:
    """Report what no propagator has rejected."""
    witness(rejection)
    log_rejection(rejection)


def tell(on_rejected: Callable[[Rejection], object], rejection: Rejection) -> None:
    """Call `on_rejected`, but not for rejections of its own doing; log an exception of it."""
    report_once("rejection", _call, on_rejected, rejection)


def _call(on_rejected: Callable[[Rejection], object], rejection: Rejection) -> None:
    try:
        on_rejected(rejection)
    except Exception as error:  # noqa: BLE001 - it is the user's; the message must not be lost to it
        # A traceback would show what strangers sent as it came.
        logger().error("on_rejected failed for: %s: %s", rejection, describe(error))


def log_rejection(rejection: Rejection) -> None:
    """Log a WARNING: one per kind of rejection and minute, so that a flood stays readable."""
    if _is_due(rejection.during, rejection.header, rejection.reason):
        logger().warning("%s", rejection)


def _is_due(*kind: str) -> bool:
    """Tell whether no line of that kind was logged in the last minute, and claim the next one."""
    now = time.monotonic()
    mine = now + _SECONDS_BETWEEN_LINES
    earlier = registry.quiet_until.setdefault(kind, mine)
    if earlier is mine or now < earlier:
        return earlier is mine
    # Several threads may see that the minute is over, but only one takes it away.
    taken = registry.quiet_until.pop(kind, None)
    if taken is not None:
        registry.quiet_until.setdefault(kind, mine if taken is earlier else taken)
    return taken is earlier


class Tally(Mapping[str, int]):
    """Counts by reason, 0 without any. To count is a single step: see `Registry`."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: dict[str, repeat[None]] = {}

    def add(self, reason: str) -> None:
        """Count one more."""
        # `+= 1` takes several steps, between which another thread may count; this takes one.
        next(self._left.setdefault(reason, repeat(None, sys.maxsize)))

    def total(self) -> int:
        """Return how many there were in all."""
        return sum(self.values())

    def __getitem__(self, reason: str) -> int:
        left = self._left.get(reason)
        return 0 if left is None else sys.maxsize - length_hint(left)

    def __contains__(self, reason: object) -> bool:
        return reason in self._left

    def __iter__(self) -> Iterator[str]:
        return iter(self._left.copy())

    def __len__(self) -> int:
        return len(self._left)

    def __repr__(self) -> str:
        return f"Tally({dict(self)})"
