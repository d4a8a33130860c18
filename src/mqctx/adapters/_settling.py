"""Settle a message by how its handler ended: one sequence of steps, for every client.

The steps are a generator: it yields what to do and gets back how that went. Its driver may wait
in the client's own way, or take it up again later.
"""

import logging
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from mqctx._core.context import Context
from mqctx._core.store import current
from mqctx._core.values import describe
from mqctx._failures.record import Failure
from mqctx._failures.recording import Origin, record
from mqctx._propagation.propagator import Propagator
from mqctx.adapters._dead_letter import DeadLetter
from mqctx.errors import HandlerError

logger = logging.getLogger("mqctx.failures")

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 30.0
_LONGEST_NAP: Final = 1.0
"""How long it may take to notice that the consumer has ended."""


class NotSentError(Exception):
    """A copy was not sent, or is not where it should be. Never leaves mqctx."""


class Delivery(Protocol):
    """A message as a client handed it out, with the verbs that settle it.

    The verbs of an async client return awaitables.
    """

    @property
    def origin(self) -> Origin:
        """The known facts about the message."""
        ...

    @property
    def is_settled(self) -> bool:
        """Whether somebody else has settled it already."""
        ...

    @property
    def has_ended(self) -> bool:
        """Whether its consumer or its channel is gone."""
        ...

    def ack(self) -> Awaitable[None] | None:
        """Acknowledge it."""
        ...

    def reject(self) -> Awaitable[None] | None:
        """Reject it, not to be delivered again."""
        ...

    def requeue(self) -> Awaitable[None] | None:
        """Put it back into its queue."""
        ...


class Send(msgspec.Struct, frozen=True):
    """Send a copy with this record. Answered by an exception unless it was confirmed and routed."""

    failure: Failure


class Pause(msgspec.Struct, frozen=True):
    """Go on after so many seconds; in a loop that cannot wait, when it comes by again."""

    seconds: float


Step: TypeAlias = Send | Pause | Callable[[], Awaitable[None] | None]
Steps: TypeAlias = Generator[Step, Exception | None, None]


def steps(
    delivery: Delivery,
    dead_letter: DeadLetter,
    error: BaseException | None,
    handler: str | None,
    bound: Callable[[], dict[str, Any]],
) -> Steps:
    """Settle a message after its handler has returned, or raised `error`."""
    if delivery.is_settled:
        _log_settled(handler, error)
    elif error is None:
        yield delivery.ack
    elif not isinstance(error, Exception):
        yield delivery.requeue  # cancelled, or interrupted: it was not the message's fault
    else:
        failure = _failure(delivery.origin, dead_letter, error, handler, bound)
        logger.error(
            "%s failed: dead-lettering the message to %r",
            failure.handler or "a handler",
            dead_letter.exchange,
            exc_info=error,
        )
        del error  # a message that is held must not hold all that its handler had
        yield from _dead_letter(delivery, dead_letter, failure)


def _dead_letter(delivery: Delivery, dead_letter: DeadLetter, failure: Failure) -> Steps:
    """Acknowledge the message once its copy is confirmed; until then, do as `fallback` says."""
    problem = yield Send(failure)
    if problem is None:
        yield delivery.ack
        return
    told = describe(problem)
    if dead_letter.fallback == "reject":
        logger.warning(
            "the copy to %r could not be sent: rejected (%s)", dead_letter.exchange, told
        )
        if not delivery.has_ended:
            yield delivery.reject
        return
    logger.warning("the copy to %r cannot be sent: held (%s)", dead_letter.exchange, told)
    del problem  # its traceback has the frames of the client, and those the message
    yield from _hold(delivery, dead_letter, failure)


def _hold(delivery: Delivery, dead_letter: DeadLetter, failure: Failure) -> Steps:
    """Send the copy again, with growing pauses, for as long as the message is ours to settle."""
    pause = _FIRST_PAUSE
    while not delivery.has_ended:
        yield from _wait(delivery, pause)
        if delivery.is_settled or delivery.has_ended:
            break
        if (yield Send(failure)) is None:
            logger.info("the copy to %r was sent at last", dead_letter.exchange)
            yield delivery.ack
            return
        pause = min(2 * pause, _LONGEST_PAUSE)
    if not delivery.is_settled:
        yield delivery.requeue


def _wait(delivery: Delivery, seconds: float) -> Steps:
    while seconds > 0 and not delivery.has_ended:
        yield Pause(min(seconds, _LONGEST_NAP))
        seconds -= _LONGEST_NAP


def _failure(
    origin: Origin,
    dead_letter: DeadLetter,
    error: Exception,
    handler: str | None,
    bound: Callable[[], dict[str, Any]],
) -> Failure:
    """Return the record of a failure, with less in it rather than none."""
    origin = msgspec.structs.replace(origin, handler=handler)
    options: dict[str, Any] = {
        "redact": dead_letter.redact,
        "with_traceback": dead_letter.traceback,
    }
    return record(error, origin, bound(), **options)


def bound_since(brought: Context, propagator: Propagator) -> dict[str, Any]:
    """Return the values that became active since `brought`, and may leave the process."""
    before = propagator.plain(brought)
    return {
        n: v for n, v in propagator.plain(current()).items() if n not in before or before[n] != v
    }


def _log_settled(handler: str | None, error: BaseException | None) -> None:
    told = HandlerError(
        f"{handler or 'a handler'} settled its message by itself; with dead_letter= mqctx settles "
        "it, and has sent and settled nothing"
    )
    told.__cause__ = error
    logger.error("%s", told, exc_info=told)
