"""The record of a failure, and its header: one line of ASCII JSON, never over its limit."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from mqctx._core.values import JSONValue
from mqctx.formats._format import FAILURE, as_text, header_size
from mqctx.formats.json import from_json, to_json

# With the context beside it, both fit a frame of 4,096 bytes, the smallest one of AMQP (4.2.3).
MOST_BYTES: Final = 2048
"""The most that the header takes in a message, AMQP's framing included."""
MOST_BYTES_WITH_TRACEBACK: Final = 10_240


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reason why a handler could not process a message. Unknown fields are None."""

    type: str | None = None
    """The qualified name of the exception's class; a builtin's has no module."""
    message: str | None = None
    """Its text, redacted."""
    where: str | None = None
    """File, line and function of the last frame that is not a library's."""
    fingerprint: str | None = None
    """The same for failures of one type that came the same way."""
    at: str | None = None
    """When, as RFC 3339 in UTC."""
    first_at: str | None = None
    """When the message was dead-lettered with a reason for the first time."""
    failures: int | None = None
    """How often it was."""
    attempt: int | None = None
    """Which delivery of this time it was, as far as the broker says."""
    service: str | None = None
    handler: str | None = None
    """The qualified name of the handler."""
    exchange: str | None = None
    """The exchange that the message had been published to, with `routing_key`."""
    routing_key: str | None = None
    queue: str | None = None
    """The queue that it was consumed from, if that is known: a delivery does not name it."""
    bound: Mapping[str, JSONValue] | None = None
    """The values that the handler bound and the message did not bring."""
    traceback: str | None = None

    @classmethod
    def from_header(cls, value: object) -> "Failure | None":
        """Return what a `mqctx-failure` header says, as far as it can be read; never raises.

        None if it is no JSON object, or says nothing that a failure has.
        """
        known = known_in(value)
        return cls(**known) if known else None

    def to_header(self, room: int = MOST_BYTES_WITH_TRACEBACK) -> str | None:
        """Return the text of the header, within its limit and within `room` bytes.

        Keys are left out until it fits: the traceback first, at last all but type, time and queue.
        None if there is no room even for these.
        """
        for shed in self._shed():
            text = to_json(msgspec.to_builtins(shed))
            limit = MOST_BYTES if shed.traceback is None else MOST_BYTES_WITH_TRACEBACK
            if header_size(FAILURE, text) <= min(limit, room):
                return text
        return None

    def _shed(self) -> "Iterator[Failure]":
        """Yield the record, then with less and less in it."""
        yield self
        shed: Any = self
        # From what is longest and helps least, to what a search needs.
        for name in ("traceback", "bound", "message", "where"):
            shed = msgspec.structs.replace(shed, **{name: None})
            yield shed
        yield Failure(type=self.type, at=self.at, queue=self.queue)


def known_in(header: object) -> dict[str, Any]:
    """Return the sound values of a `mqctx-failure` header by their keys, none if it has none."""
    # Key by key: one that a stranger, or a later version, wrote otherwise costs only itself.
    told = object_in(header).items()
    return {name: value for name, value in told if _SOUND.get(name, _never)(value)}


def object_in(header: object) -> dict[str, Any]:
    """Return the JSON object that a header holds, an empty one if it holds none; never raises."""
    decoded = _decoded(header)
    return cast("dict[str, Any]", decoded) if isinstance(decoded, dict) else {}


def as_time(text: str, now: datetime) -> datetime | None:
    """Return an RFC 3339 time; None if `text` is none, or one that is still to come."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo and time <= now else None
    # OverflowError: in UTC, the first and the last day of the calendar may be outside it.
    except (ValueError, OverflowError):
        return None


def to_time(time: datetime) -> str:
    """Return a time as RFC 3339 in UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _decoded(value: object) -> JSONValue:
    if not isinstance(value, str | bytes | bytearray):
        return None
    try:
        return from_json(as_text(value))
    except ValueError:
        return None


def _never(_: object) -> bool:
    return False


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0  # not isinstance: True is an int


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


_SOUND: Final = dict.fromkeys(Failure.__struct_fields__, _is_text) | {
    "failures": _is_count,
    "attempt": _is_count,
    "bound": _is_object,
}
"""Whether a value can stand under a key."""
