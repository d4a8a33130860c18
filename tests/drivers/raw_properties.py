"""Properties of messages as bytes: sent and received with pika, and taken apart bit for bit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pika import BasicProperties, spec

_SIZES = dict(zip("tbBsuUIilLfdDTV", (1, 1, 1, 2, 2, 2, 4, 4, 8, 8, 4, 8, 5, 8, 0), strict=True))
"""How many bytes a value of each type has; all others begin with their length, in four."""
_SHORT, _TABLE = -1, -2
_PROPERTIES = {
    "content_type": _SHORT, "content_encoding": _SHORT, "headers": _TABLE, "delivery_mode": 1,
    "priority": 1, "correlation_id": _SHORT, "reply_to": _SHORT, "expiration": _SHORT,
    "message_id": _SHORT, "timestamp": 8, "type": _SHORT, "user_id": _SHORT, "app_id": _SHORT,
    "cluster_id": _SHORT,
}  # fmt: skip
"""In their order (AMQP 0-9-1, 4.2.6.1), the size of each."""


@dataclass
class Raw:
    """Each property, and each header, as the bytes that it is on the wire."""

    properties: dict[str, bytes]
    headers: dict[str, bytes]

    def text(self, header: str) -> str:
        """Return a header that is a string."""
        value = self.headers[header]
        assert value[:1] == b"S"
        return value[5:].decode()

    def without(self, *names: str) -> "Raw":
        """Return all others."""
        return Raw(*({k: v for k, v in part.items() if k not in names} for part in self))

    def __iter__(self) -> Iterator[dict[str, bytes]]:
        return iter((self.properties, self.headers))


def parts(raw: bytes) -> Raw:
    """Take properties apart. RabbitMQ sorts headers by name: only their order may differ."""
    flags, at = int.from_bytes(raw[:2]), 2
    found = Raw({}, {})
    for bit, (name, size) in enumerate(_PROPERTIES.items()):
        if not flags >> 15 - bit & 1:
            continue
        if size == _TABLE:
            start, at = at + 4, at + 4 + int.from_bytes(raw[at : at + 4])
            found.headers = dict(_entries(raw[start:at]))
        else:
            end = at + (1 + raw[at] if size == _SHORT else size)
            found.properties[name], at = raw[at:end], end
    assert at == len(raw)
    return found


def _entries(table: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(table):
        start = at + 1 + table[at]
        size = _SIZES.get(chr(table[start]))
        if size is None:
            size = 4 + int.from_bytes(table[start + 1 : start + 5])
        end = start + 1 + size
        yield table[at + 1 : start].decode(), table[start:end]
        at = end


class AsBytes(BasicProperties):
    """Properties that are sent as these bytes."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.raw = raw

    def encode(self) -> list[bytes]:
        return [self.raw]


class _Kept(BasicProperties):
    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        self.raw = bytes(encoded[offset:])
        return self


def take_raw(channel: Any, queue: str) -> tuple[bytes, bytes]:
    """Take a message off a queue; return its properties and its body."""
    with properties_kept():
        method, properties, body = channel.basic_get(queue, auto_ack=True)
    assert method is not None, "there is no message"
    return properties.raw, body


@contextmanager
def properties_kept() -> Iterator[None]:
    """Let messages arrive whatever their properties: nothing of these is decoded."""
    before = spec.props[BasicProperties.INDEX]
    # pika looks up there which class a header frame is read into.
    spec.props[BasicProperties.INDEX] = _Kept
    try:
        yield
    finally:
        spec.props[BasicProperties.INDEX] = before
