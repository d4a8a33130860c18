"""Make the record of a failure from an exception and what is known of the message."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from mqctx._core.identity import service_name
from mqctx._core.values import JSONValue
from mqctx._failures.cause import Cause
from mqctx._failures.cutting import cut
from mqctx._failures.record import Failure, as_time, known_in, to_time
from mqctx._failures.redaction import Redact, redacted, redacted_end, redacted_values
from mqctx._failures.secrets import hide_secrets

_MOST: Final = {
    "type": 128,
    "message": 512,
    "where": 160,
    "service": 64,
    "handler": 128,
    "bound": 512,
    "traceback": 8192,
}
"""The most bytes of each key, as it stands in ASCII JSON."""
_MOST_FAILURES: Final = 2**31


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The known facts about a message that was being handled, and about its handler."""

    handler: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    queue: str | None = None
    attempt: int | None = None
    earlier: object = None
    """The `mqctx-failure` header that it brought."""


def record(
    error: BaseException,
    origin: Origin,
    bound: Mapping[str, JSONValue],
    *,
    redact: Redact | None = None,
    with_traceback: bool = False,
) -> Failure:
    """Return the record of a failure; each key is cut to its most bytes."""
    hide = redact or hide_secrets
    cause, now = Cause(error, origin.handler), datetime.now(UTC)
    first_at, failures = _history(origin.earlier, now)
    values = redacted_values(bound, hide, _MOST["bound"])
    traceback = redacted_end(cause.lines(), hide, _MOST["traceback"]) if with_traceback else None
    return Failure(
        type=cut(cause.type, _MOST["type"]),
        message=redacted(cause.text, hide, _MOST["message"]),
        where=_end(cause.where, _MOST["where"]),
        fingerprint=cause.fingerprint,
        at=to_time(now),
        first_at=to_time(first_at),
        failures=failures,
        attempt=origin.attempt,
        service=cut(service_name(), _MOST["service"]),
        handler=_end(cause.handler, _MOST["handler"]),
        exchange=origin.exchange,
        routing_key=origin.routing_key,
        queue=origin.queue,
        bound=values or None,
        traceback=traceback,
    )


def _end(name: str | None, most: int) -> str | None:
    """Cut a path or a qualified name, whose end tells more than its beginning."""
    return name and cut(name, most, keep_end=True)


def _history(earlier: object, now: datetime) -> tuple[datetime, int]:
    """Return when the message failed first, and how often with now.

    A stranger may have written the header: no more than these two count, and only if sound.
    """
    before = known_in(earlier)
    failures = before.get("failures", 0)
    # A count near the end of its range is a stranger's: no message fails two billion times.
    count = 1 + failures if failures < _MOST_FAILURES else 1
    return as_time(before.get("first_at", ""), now) or now, count
