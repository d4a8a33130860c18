"""Make the record of a failure from an exception and what is known of the message."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from mqctx._core.identity import service_name
from mqctx._core.values import JSONValue
from mqctx._failures.cause import Cause
from mqctx._failures.cutting import cut
from mqctx._failures.record import Failure, as_time, to_time
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
    """What is known of a message that was being handled, and of its handler."""

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
        # Of paths and qualified names, the end tells more than the beginning.
        where=cause.where and cut(cause.where, _MOST["where"], keep_end=True),
        fingerprint=cause.fingerprint,
        at=to_time(now),
        first_at=to_time(first_at),
        failures=failures,
        attempt=origin.attempt,
        service=cut(service_name(), _MOST["service"]),
        handler=cause.handler and cut(cause.handler, _MOST["handler"], keep_end=True),
        exchange=origin.exchange,
        routing_key=origin.routing_key,
        queue=origin.queue,
        bound=values or None,
        traceback=traceback,
    )


def _history(earlier: object, now: datetime) -> tuple[datetime, int]:
    """Return when the message failed first, and how often with now.

    A stranger may have written the header: no more than these two count, and only if sound.
    """
    before = Failure.from_header(earlier)
    if before is None:
        return now, 1
    failures = before.failures or 0
    # A count near the end of its range is a stranger's: no message fails two billion times.
    return as_time(before.first_at, now) or now, 1 + (failures if failures < _MOST_FAILURES else 0)
