"""pika's connection with the properties of messages left as bytes.

pika decodes each header as it arrives, and closes its connection over one that it cannot decode:
a timestamp in milliseconds, 700 levels of nesting. It changes the encoding of the others.
"""

from collections.abc import Mapping
from typing import Any, Final

import pika
from pika import frame, spec

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection._arrivals import BEFORE_PROPERTIES, OVERHEAD, Arrivals, Take, cut

_HEADER: Final = bytes([spec.FRAME_HEADER])


class RawProperties(spec.BasicProperties):
    """Properties that pika carries as they are. Only `header` counts; pika's own are None."""

    def __init__(self, header: ContentHeader) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # generated code of pika's
        self.header = header

    def encode(self) -> list[bytes]:
        """Return what a frame takes for the encoded properties."""
        return [self.header.raw]


# Any: pika's stubs show nothing that is private.
_Connection: Any = pika.SelectConnection


class RawConnection(pika.SelectConnection):
    """A connection whose returned messages have `RawProperties`.

    Of the deliveries on channels that `stream` was called for, pika sees nothing.
    """

    _frame_buffer: bytes  # set by pika
    _streams: Mapping[int, Arrivals] = {}

    def stream(self, channel: int, take: Take) -> None:
        """Give what is delivered on a channel to `take`, which may only wake a waiter."""
        self._streams = {**self._streams, channel: Arrivals(take)}

    def end_stream(self, channel: int) -> None:
        """Leave what comes on a channel to pika: its number may be another one's soon."""
        self._streams = {n: each for n, each in self._streams.items() if n != channel}

    def _read_frame(self) -> Any:
        if self._streams:
            _Connection._trim_frame_buffer(self, cut(self._frame_buffer, self._streams))
        buffer = self._frame_buffer
        if buffer[:1] != _HEADER:
            return _Connection._read_frame(self)
        end = int.from_bytes(buffer[3:7]) + OVERHEAD
        if len(buffer) < max(end, OVERHEAD + BEFORE_PROPERTIES):
            return 0, None
        if buffer[end - 1] != spec.FRAME_END:
            return _Connection._read_frame(self)  # which says so, as for any other frame
        channel = int.from_bytes(buffer[1:3])
        payload = buffer[spec.FRAME_HEADER_SIZE : end - 1]
        header = ContentHeader(payload[BEFORE_PROPERTIES:])
        size = int.from_bytes(payload[4:BEFORE_PROPERTIES])
        return end, frame.Header(channel, size, RawProperties(header))
