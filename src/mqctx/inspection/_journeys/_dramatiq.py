"""dramatiq's messages, which have no headers: their bodies say whose they are."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["DramatiqMessage", "read_body"]

_BEGINNING: Final = b'{"queue_name":'


class DramatiqMessage(msgspec.Struct):
    """A message, as far as a trace needs it."""

    message_id: str | None = None
    options: Mapping[str, Any] = {}
    """What AMQP has headers for, the context among it."""


_decode: Final = msgspec.json.Decoder(DramatiqMessage).decode


def read_body(body: bytes) -> DramatiqMessage | None:
    """Return the message in a body, as dramatiq's own encoder writes it; None if it is none."""
    if not body.startswith(_BEGINNING):
        return None
    try:
        return _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
