"""What a message of dramatiq says in its body, which is all that dramatiq sends."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["dramatiq_failure", "dramatiq_options"]

_LONGEST_BODY: Final = 65_536
_LONGEST_TRACEBACK: Final = 8_192
_RAISED = re.compile(r"^[ \t].*\n([A-Za-z_][\w.]{0,200})(?:: (.{0,500}).*)?$", re.MULTILINE)
"""The first line of a traceback behind its frames, which are indented: what was raised."""


class _Message(msgspec.Struct):
    """The fields of `dramatiq.Message` that tell one apart, and those that matter here."""

    queue_name: str
    actor_name: str
    message_id: str
    options: dict[str, Any]


def dramatiq_options(body: bytes) -> Mapping[str, Any]:
    """Return the options of a message that dramatiq sent, where a context is; empty for others."""
    message = _message_in(body)
    return {} if message is None else message.options


def dramatiq_failure(body: bytes) -> dict[str, Any] | None:
    """Return why an actor failed, by the keys of mqctx's own record, None if nothing tells.

    dramatiq writes the traceback into each retry. RabbitMQ dead-letters the last one as it was
    sent: it tells of the attempt before.
    """
    message = _message_in(body)
    return None if message is None else _told_by(message)


def _told_by(message: _Message) -> dict[str, Any] | None:
    traceback, retries = (message.options.get(name) for name in ("traceback", "retries"))
    if not isinstance(traceback, str):
        return None
    end = traceback.rstrip()[-_LONGEST_TRACEBACK:]
    failure = {"system": "dramatiq", "handler": message.actor_name, "traceback": end}
    attempt = {"attempt": retries} if isinstance(retries, int) else {}
    return {**failure, **_raised_in(end), **attempt}


def _raised_in(traceback: str) -> dict[str, str]:
    """Return type and text of the exception that a traceback ends with, nothing if none does."""
    raised = list(_RAISED.finditer(traceback))
    return {"type": raised[-1][1], "message": raised[-1][2] or ""} if raised else {}


def _message_in(body: bytes) -> _Message | None:
    # The cheap questions first: most bodies are of others, and some are large.
    if len(body) > _LONGEST_BODY or b'"actor_name"' not in body:
        return None
    try:
        return msgspec.json.decode(body, type=_Message)
    except (ValueError, RecursionError):
        return None
