"""Reasons that other libraries write into dead letters, by the keys of mqctx's own record."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from mqctx.inspection._moments import moment
from mqctx.inspection._plain import known

__all__ = ["failure_of_others"]

_Read = Callable[[Any], Any]
_MOST: Final = 8_192
# "Caused by: java.io.IOException: disk full", " ---> System.TimeoutException: too late".
_TEXT: Final = r"(?:: (?P<message>[^\r\n]{1,500}))?"
_CAUSE = re.compile(rf"(?:Caused by: |---> ?)(?P<type>[A-Za-z_][\w.$+]{{0,200}}){_TEXT}")
_FIRST = re.compile(rf"\s*(?P<type>[A-Za-z_][\w$+]*(?:\.[\w$+]+)+){_TEXT}")
_NUMBER = re.compile("[0-9]{1,9}")


def _text(value: Any) -> str | None:
    """Return text of bounded length, None for what is none."""
    return value[:_MOST] or None if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    # As text or as a number: NServiceBus writes all its headers as text. Of bounded length, for
    # `int` takes long over many digits.
    text = str(value)
    return int(text) if _NUMBER.fullmatch(text) else None


def _queue(value: Any) -> str | None:
    """Return the queue in an address such as `rabbitmq://host/vhost/orders?durable=true`."""
    path = _path(_text(value) or "")
    return path.rstrip("/").rpartition("/")[2].partition("@")[0] or None


def _path(address: str) -> str:
    """Return the path of a URL, nothing of what is none; all of an address without scheme."""
    try:
        return urlsplit(address).path if "://" in address else address
    except ValueError:
        return ""


class _Library(NamedTuple):
    name: str
    fields: Mapping[str, tuple[str, _Read]]
    """The header of each key of a failure, and how it is read."""

    def read(self, headers: Mapping[str, Any]) -> dict[str, Any]:
        """Return what it tells, by the keys of a failure."""
        return known({key: read(headers.get(name)) for key, (name, read) in self.fields.items()})


_LIBRARIES: Final = (
    _Library(
        "Spring AMQP",
        {
            "message": ("x-exception-message", _text),
            "traceback": ("x-exception-stacktrace", _text),
            "exchange": ("x-original-exchange", _text),
            "routing_key": ("x-original-routingKey", _text),
        },
    ),
    _Library(
        "MassTransit",
        {
            "type": ("MT-Fault-ExceptionType", _text),
            "message": ("MT-Fault-Message", _text),
            "traceback": ("MT-Fault-StackTrace", _text),
            "queue": ("MT-Fault-InputAddress", _queue),
            "handler": ("MT-Fault-ConsumerType", _text),
            "attempt": ("MT-Fault-RetryCount", _number),
            "at": ("MT-Fault-Timestamp", moment),
            "service": ("MT-Host-ProcessName", _text),
        },
    ),
    _Library(
        "NServiceBus",
        {
            "type": ("NServiceBus.ExceptionInfo.ExceptionType", _text),
            "message": ("NServiceBus.ExceptionInfo.Message", _text),
            "traceback": ("NServiceBus.ExceptionInfo.StackTrace", _text),
            "queue": ("NServiceBus.FailedQ", _queue),
            "attempt": ("NServiceBus.Retries", _number),
            "at": ("NServiceBus.TimeOfFailure", moment),
            "service": ("NServiceBus.ProcessingEndpoint", _text),
        },
    ),
    _Library(
        "Wolverine",
        {
            "type": ("exception-type", _text),
            "message": ("exception-message", _text),
            "traceback": ("exception-stack", _text),
            "queue": ("original-destination", _queue),
            "attempt": ("attempts", _number),
            "at": ("failed-at", moment),
        },
    ),
    _Library(
        "Rebus",
        {
            "traceback": ("rbs2-error-details", _text),
            "queue": ("rbs2-source-queue", _queue),
            "attempt": ("rbs2-delivery-count", _number),
        },
    ),
    _Library(
        "Kafka Connect",  # and Redpanda Connect, whose dead letters have the same headers
        {
            "type": ("__connect.errors.exception.class.name", _text),
            "message": ("__connect.errors.exception.message", _text),
            "traceback": ("__connect.errors.exception.stacktrace", _text),
            "handler": ("__connect.errors.connector.name", _text),
            "queue": ("__connect.errors.topic", _queue),
        },
    ),
    _Library(
        "Azure Service Bus",
        {
            "type": ("DeadLetterReason", _text),
            "message": ("DeadLetterErrorDescription", _text),
        },
    ),
)
_REASONS: Final = ("type", "message", "traceback")
_TOLD_BY: Final = {
    library.fields[key][0]: library
    for library in _LIBRARIES
    for key in _REASONS
    if key in library.fields
}
"""The library of each header by which one is known."""


def failure_of_others(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return why a message died, as another library tells it, nothing if none does.

    The keys are those of mqctx's own record; `system` names the library.
    """
    told_by = [_TOLD_BY[header] for header in headers if header in _TOLD_BY]
    library = min(told_by, key=_LIBRARIES.index, default=None)
    if library is None:
        return {}
    return {"system": library.name, **_completed(library.read(headers))}


def _completed(failure: dict[str, Any]) -> dict[str, Any]:
    """Fill in type and message from the stack trace, where no header of their own tells them."""
    trace = failure.get("traceback", "")
    # Java and .NET print what was thrown first, and its root cause last.
    found = [_FIRST.match(trace), *_CAUSE.finditer(trace)][-1]
    if found is None or "type" in failure:
        return failure
    return {**known(found.groupdict()), **failure}
