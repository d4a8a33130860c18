"""What was not restored, or not sent, and why; and how that is told."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Literal, ParamSpec, TypeAlias

import msgspec

from mqctx._core.values import describe, printable

if TYPE_CHECKING:
    import logging

P = ParamSpec("P")

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
    says more. All are escaped and of bounded length; as text it is one printable line.
    """

    during: Literal["inject", "extract"]
    header: str
    key: str | None
    reason: Reason
    detail: str

    def __str__(self) -> str:
        where = self.header if self.key is None else f"{self.key} in {self.header}"
        outcome = "not restored from" if self.during == "extract" else "not sent in"
        # A format may be anybody's, and so may be what it says.
        return printable(f"{where}: {outcome} the headers ({self.reason}): {self.detail}")


class RefusedError(Exception):
    """Something does not count, for a reason: whoever catches it reports it. Never leaves mqctx."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


Report: TypeAlias = Callable[[Rejection], None]

_SECONDS_BETWEEN_LINES: Final = 60.0
_lines_until: dict[tuple[str, str, str], float] = {}
_reporting: ContextVar[bool] = ContextVar("mqctx_reporting", default=False)


def logger() -> "logging.Logger":
    """Return mqctx's own logger."""
    import logging  # noqa: PLC0415 - takes longer than all of mqctx, and is seldom needed

    return logging.getLogger("mqctx")


def report_once(
    under_way: ContextVar[bool], report: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> None:
    """Call `report`, unless one is under way in this thread or task.

    A log handler may send what it is given with a client that mqctx reports on: a report of what a
    report itself caused would never end.
    """
    if under_way.get():
        return
    token = under_way.set(True)
    try:
        report(*args, **kwargs)
    finally:
        under_way.reset(token)


def tell(on_rejected: Callable[[Rejection], object], rejection: Rejection) -> None:
    """Call `on_rejected`, but not for what it causes itself; an exception of it is logged."""
    report_once(_reporting, _tell, on_rejected, rejection)


def _tell(on_rejected: Callable[[Rejection], object], rejection: Rejection) -> None:
    try:
        on_rejected(rejection)
    except Exception as error:  # noqa: BLE001 - it is the user's; the message must not be lost to it
        # A traceback would show what strangers sent as it came.
        logger().error("on_rejected failed for: %s: %s", rejection, describe(error))


def log_rejection(rejection: Rejection) -> None:
    """Log a WARNING: one per kind of rejection and minute, so that a flood stays readable."""
    kind = (rejection.during, rejection.header, rejection.reason)
    now = time.monotonic()
    # No lock, which a fork or a signal handler could find taken: at worst two threads log a line.
    if now >= _lines_until.get(kind, now):
        _lines_until[kind] = now + _SECONDS_BETWEEN_LINES
        logger().warning("%s", rejection)


def forget_logged() -> None:
    """Let the next rejection of each kind be logged at once; for tests."""
    _lines_until.clear()
