"""dramatiq's messages, without headers: their bodies say whose they are, and why they died."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["DramatiqMessage", "read_body"]

_BEGINNING: Final = b'{"queue_name":'
_LONGEST_BODY: Final = 65_536
_LONGEST_TRACEBACK: Final = 8_192
_RAISED = re.compile(r"^[ \t].*\n([A-Za-z_][\w.]{0,200})(?:: (.{0,500}).*)?$", re.MULTILINE)
"""The first line of a traceback behind its frames, which are indented: what was raised."""


class DramatiqMessage(msgspec.Struct):
    """The parts of a message that are looked at."""

    message_id: str | None = None
    actor_name: str | None = None
    options: Mapping[str, Any] = {}
    """Values that would be headers in AMQP, such as the context."""

    @property
    def failure(self) -> dict[str, Any]:
        """Why its actor failed, by the keys of mqctx's own record; empty if unknown.

        dramatiq writes the traceback into each retry. RabbitMQ dead-letters the last one as it was
        sent: it shows the attempt before.
        """
        traceback, retries = map(self.options.get, ("traceback", "retries"))
        if not isinstance(traceback, str):
            return {}
        end = traceback.rstrip()[-_LONGEST_TRACEBACK:]
        failure = {"system": "dramatiq", "handler": self.actor_name, "traceback": end}
        attempt = {"attempt": retries} if isinstance(retries, int) else {}
        return {**failure, **_raised_in(end), **attempt}


_decode: Final = msgspec.json.Decoder(DramatiqMessage).decode


def read_body(body: bytes) -> DramatiqMessage | None:
    """Return the message in a body, as dramatiq's own encoder writes it; None if it is none."""
    if len(body) > _LONGEST_BODY or not body.startswith(_BEGINNING):
        return None
    try:
        return _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _raised_in(traceback: str) -> dict[str, str]:
    """Return type and text of the exception that a traceback ends with, nothing if none does."""
    raised = list(_RAISED.finditer(traceback))
    return {"type": raised[-1][1], "message": raised[-1][2] or ""} if raised else {}
