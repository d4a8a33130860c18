"""Deliveries as they stand on the wire, at a tenth of what pika takes for each.

pika makes objects of three frames, decodes the properties, and passes the message through four
queues of its own: as long as it takes to read it. Here its bytes are cut out and put together.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from pika import spec

__all__ = ["BEFORE_PROPERTIES", "OVERHEAD", "Arrival", "Arrivals", "Take", "cut", "name_of"]

_FRAME: Final = Struct(">BHI")
OVERHEAD: Final = spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE
_DELIVER: Final = spec.Basic.Deliver.INDEX.to_bytes(4)
# Class and method; the tag of the message, and whether it is redelivered, behind the consumer's.
_INDEX, _TAG = 4, 8
BEFORE_PROPERTIES: Final = 12
"""Bytes of a header frame: the class, a weight that is always 0, and the size of the body."""
_SIZE_OF_BODY: Final = slice(4, BEFORE_PROPERTIES)


class Arrival(NamedTuple):
    """A message as it came: the payloads of its frames (AMQP 0-9-1, 2.3.5 and 4.2.6)."""

    method: bytes
    header: bytes
    body: bytes

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.method) + len(self.header) + len(self.body)

    @property
    def properties(self) -> bytes:
        """Its properties, as `ContentHeader` reads them."""
        return self.header[BEFORE_PROPERTIES:]

    @property
    def consumer(self) -> str:
        """The tag of the consumer that it was sent to."""
        return name_of(self.method[_INDEX + 1 : self._behind_consumer])

    @property
    def receipt(self) -> tuple[int, bool]:
        """Its delivery tag, and whether it was delivered before."""
        tag = self._behind_consumer
        return int.from_bytes(self.method[tag : tag + _TAG]), bool(self.method[tag + _TAG])

    @property
    def came_by(self) -> tuple[str, str]:
        """Its exchange and its routing key."""
        method = self.method
        exchange = self._behind_consumer + _TAG + 1
        key = exchange + 1 + method[exchange]
        return name_of(method[exchange + 1 : key]), name_of(method[key + 1 :])

    @property
    def _behind_consumer(self) -> int:
        return _INDEX + 1 + self.method[_INDEX]


Take: TypeAlias = Callable[[Arrival], None]


class Arrivals:
    """Put the messages together that are delivered on one channel."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._method = self._header = b""
        self._body: list[bytes] = []
        self._left = 0

    def put(self, kind: int, payload: bytes) -> bool:
        """Take the payload of a frame; tell whether it is of a delivery."""
        if kind == spec.FRAME_METHOD:
            self._method = payload if payload.startswith(_DELIVER) else b""
            return bool(self._method)
        if not self._method:
            return False
        if kind == spec.FRAME_HEADER:
            self._header, self._body = payload, []
            self._left = int.from_bytes(payload[_SIZE_OF_BODY])
        else:
            self._body.append(payload)
            self._left -= len(payload)
        if self._left <= 0:
            self._take(Arrival(self._method, self._header, b"".join(self._body)))
            self._method = b""
        return True


def cut(buffer: bytes, channels: Mapping[int, Arrivals]) -> int:
    """Take the frames at the beginning that are whole and of deliveries; return their size."""
    at, size = 0, len(buffer)
    while size - at >= OVERHEAD:
        kind, channel, length = _FRAME.unpack_from(buffer, at)
        end = at + length + OVERHEAD
        arrivals = channels.get(channel)
        if arrivals is None or end > size or buffer[end - 1] != spec.FRAME_END:
            break
        if not arrivals.put(kind, buffer[at + spec.FRAME_HEADER_SIZE : end - 1]):
            break
        at = end
    return at


def name_of(name: str | bytes) -> str:
    """Return the name of an exchange, or a routing key, that pika gives as bytes if not UTF-8."""
    return name if isinstance(name, str) else name.decode(errors="surrogateescape")
