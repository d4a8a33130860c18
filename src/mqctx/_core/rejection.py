"""What was not restored, or not sent, and why; and how that is told when nobody listens."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

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

    `header` and `key` name the place (`key` is None where it is the whole header), `detail`
    says more. Both are escaped and of bounded length, fit for a log line.
    """

    during: Literal["inject", "extract"]
    header: str
    key: str | None
    reason: Reason
    detail: str

    def __str__(self) -> str:
        where = self.header if self.key is None else f"{self.key} in {self.header}"
        outcome = "not restored from" if self.during == "extract" else "not sent in"
        return f"{where}: {outcome} the headers ({self.reason}): {self.detail}"


Report: TypeAlias = Callable[[Rejection], None]

_SECONDS_BETWEEN_LINES: Final = 60.0
_lines_until: dict[tuple[str, str, str], float] = {}
_logging = threading.Lock()


def logger() -> "logging.Logger":
    """Return mqctx's own logger."""
    import logging  # noqa: PLC0415 - takes longer than all of mqctx, and is seldom needed

    return logging.getLogger("mqctx")


def log_rejection(rejection: Rejection) -> None:
    """Log a WARNING: one per kind of rejection and minute, so that a flood stays readable."""
    kind = (rejection.during, rejection.header, rejection.reason)
    now = time.monotonic()
    with _logging:
        if now < _lines_until.get(kind, now):
            return
        _lines_until[kind] = now + _SECONDS_BETWEEN_LINES
    logger().warning("%s", rejection)


def forget_logged() -> None:
    """Let the next rejection of each kind be logged at once; for tests."""
    with _logging:
        _lines_until.clear()
