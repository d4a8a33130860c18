"""Make the message that is sent back: without the parts that a second failure would trip over."""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec

from mqctx._amqp.content_header import ContentHeader
from mqctx._failures.record import object_in
from mqctx.inspection._message import Message
from mqctx.inspection._ways import Way

__all__ = ["REDRIVE", "digest", "redrive_of", "sent_back", "stripped", "what_goes"]

REDRIVE: Final = "mqctx-redrive"
"""The header that says how often a message was sent back, when, from where, and by which run."""

_BROKERS: Final = (
    "x-death",
    *(
        f"x-{which}-death-{key}"
        for which in ("first", "last")
        for key in ("queue", "reason", "exchange")
    ),
    "x-delivery-count",
    "x-acquired-count",
)
# RabbitMQ delivers a copy for each queue that these name, each time that they are published.
_COPIES: Final = ("CC", "BCC")
_HEADERS: Final = frozenset((*_BROKERS, *_COPIES))
_EXPIRATION: Final = "expiration"


def stripped(header: ContentHeader) -> ContentHeader:
    """Return a header without the broker's history, copies to others, and an expiration."""
    return header.without(_EXPIRATION).without_headers(_HEADERS)


def what_goes(header: ContentHeader) -> list[str]:
    """Return the names of what `stripped` leaves out."""
    gone = [name for name in header.headers if name in _HEADERS]
    return [*gone, _EXPIRATION] if _EXPIRATION in header.names else gone


def sent_back(message: Message, way: Way, run: str) -> ContentHeader:
    """Return the header of what is published for a message."""
    before = redrive_of(message.header).get("count")
    # A stranger may have written the header: a malformed count begins anew.
    note = {
        "count": before + 1 if isinstance(before, int) and before > 0 else 1,
        "at": now(),
        "from": message.queue,
        "run": run,
    }
    header = stripped(message.header).with_header(REDRIVE, msgspec.json.encode(note).decode())
    return header.with_header("BCC", [way.queue]) if way.is_by_bcc and way.queue else header


def digest(message: Message) -> str:
    """Return what tells a message from others, whatever the broker has added to it."""
    return blake2b(stripped(message.header).raw + message.body, digest_size=8).hexdigest()


def redrive_of(header: ContentHeader) -> dict[str, Any]:
    """Return what an earlier run noted in a message; nothing if none did, or not soundly."""
    return object_in(header.headers.get(REDRIVE))


def now() -> str:
    """Return the time, as RFC 3339 in UTC."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
