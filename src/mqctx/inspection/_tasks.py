"""The task that a message of Celery or taskiq asks for."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mqctx.inspection._plain import known

__all__ = ["celery_task", "taskiq_task"]

# Celery's message protocol 2 has them in the headers, protocol 1 in a JSON body
# (docs.celeryq.dev, "Message Protocol").
_KEYS: Final = ("task", "id", "retries", "eta", "root_id", "parent_id", "origin")
_ONLY_CELERYS: Final = frozenset(("lang", "root_id", "argsrepr", "retries"))
_LONGEST_BODY: Final = 65_536
_TASKIQS: Final = {"task": "task_name", "id": "task_id", "retries": "_retries"}
"""taskiq-aio-pika's headers, the last of which is a label of SimpleRetryMiddleware."""


class _Protocol1(msgspec.Struct):
    task: str
    id: str
    args: Any
    kwargs: Any
    retries: Any = None
    eta: Any = None


_decode: Final = msgspec.json.Decoder(_Protocol1).decode


def celery_task(headers: Mapping[str, Any], body: bytes) -> dict[str, Any] | None:
    """Return task, id, retries and the like of a message that Celery sent, None for any other."""
    if _is_task(headers) and not _ONLY_CELERYS.isdisjoint(headers):
        return _told(headers)
    return _task_in(body)


def taskiq_task(headers: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return task, id and retries of a message that taskiq sent, None for any other."""
    told = {key: headers[name] for key, name in _TASKIQS.items() if name in headers}
    return told if _is_task(told) else None


def _task_in(body: bytes) -> dict[str, Any] | None:
    """Return what a body of protocol 1 tells, None if it is none."""
    if not _may_be_task(body):
        return None
    try:
        return _told(msgspec.structs.asdict(_decode(body)))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _may_be_task(body: bytes) -> bool:
    # The cheap questions first: most bodies are no tasks, and some are large.
    return len(body) <= _LONGEST_BODY and body.startswith(b"{") and b'"task"' in body


def _is_task(fields: Mapping[str, Any]) -> bool:
    return isinstance(fields.get("task"), str) and isinstance(fields.get("id"), str)


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    return known({key: fields.get(key) for key in _KEYS})
