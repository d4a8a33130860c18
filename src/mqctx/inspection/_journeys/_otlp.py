"""Journeys as one OTLP JSON object, which Jaeger's page opens."""

import hashlib
import json
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from mqctx.inspection._journeys._spans import Json, span_of, told_of
from mqctx.inspection._whole_file import replacing

__all__ = ["OtlpFile", "otlp_file"]

_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_UNKNOWN: Final = "unknown_service"  # what OpenTelemetry's SDKs call a service without a name
_BROKER: Final = "rabbitmq"
# opentelemetry/proto/trace/v1/trace.proto, SpanKind and StatusCode.
_KINDS: Final = {"publish": 4, "delivery": 5, "run": 5}
_INTERNAL: Final = 1
_LAST: Final = 2**63 - 1
_ERROR: Final = 2
_OPERATIONS: Final = {
    "publish": ("publish", "send"),
    "delivery": ("deliver", "receive"),
    "run": ("process", "process"),
}


@contextmanager
def otlp_file(path: Path) -> Generator["OtlpFile"]:
    """Write events to a file, which is replaced when the block ends.

    Raises:
        OSError: The file cannot be written, or is no file. Raised before the block begins.
    """
    with replacing(path) as file:
        file.write('{"resourceSpans":[')
        yield OtlpFile(file)
        file.write("]}\n")


class OtlpFile:
    """A file that is being written; made by `otlp_file`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._separator = ""
        # Events are numbered for each trace: two files may be opened together.
        self._run = secrets.token_hex(8)
        self._journey: tuple[str | None, str] | None = None
        self._services: dict[str, str] = {}

    def add(self, item: Json) -> None:
        """Write an event, as the command prints it with `--json`; a summary is left out."""
        if item["kind"] == "summary":
            return
        text = json.dumps(self._resource_spans(item), separators=(",", ":"))
        self._file.write(f"{self._separator}{text}")
        self._separator = ",\n"

    def _resource_spans(self, event: Json) -> dict[str, Any]:
        service = [_attribute("service.name", self._service_of(event))]
        scope = {"scope": {"name": "mqctx"}, "spans": [self._span(event)]}
        return {"resource": {"attributes": service}, "scopeSpans": [scope]}

    def _service_of(self, event: Json) -> str:
        """Return the service that did it: told by a run, and of what that published."""
        journey = (event["by"], event["journey"])
        if journey != self._journey:
            # Events come journey by journey, so that no more than one has to be remembered.
            self._journey = journey
            self._services.clear()
        if event["kind"] in {"delivery", "dead_letter"}:
            return _BROKER
        told = (event.get("service"), self._services.get(event["parent"]), event.get("user"))
        service = next(filter(None, told), _UNKNOWN)
        if event["kind"] == "run":
            self._services[event["id"]] = service
        return service

    def _span(self, event: Json) -> dict[str, Any]:
        name, start, end = span_of(event)
        told = told_of(event)
        if event["kind"] in _OPERATIONS:
            operation, kind = _OPERATIONS[event["kind"]]
            told |= {"messaging.operation.name": operation, "messaging.operation.type": kind}
        span: dict[str, Any] = {
            "traceId": _trace_id(event),
            "spanId": self._span_id(event["id"]),
            "name": _sound(name),
            "kind": _KINDS.get(event["kind"], _INTERNAL),
            "startTimeUnixNano": _nanos(start),
            "endTimeUnixNano": _nanos(end),
            "attributes": [_attribute(*each) for each in told.items()],
        }
        if event["parent"] is not None:
            span["parentSpanId"] = self._span_id(event["parent"])
        if event.get("outcome") == "raised" or event["kind"] == "dead_letter":
            span["status"] = {"code": _ERROR, "message": _sound(_reason_of(event))}
        return span

    def _span_id(self, event: str) -> str:
        return _digest(f"{self._run} {event}", 8)


def _nanos(micros: int) -> str:
    """Return a time in nanoseconds since 1970, the last that can be said for what is later.

    As text: in protobuf's JSON, 64 bits are, for JavaScript has no such numbers.
    """
    return str(min(micros * 1_000, _LAST))


def _reason_of(event: Json) -> str:
    """Return why a run or a message failed: the class of the error, or the broker's word."""
    return str(event.get("error") or event.get("reason") or "")


def _trace_id(event: Json) -> str:
    """Return the id of a journey: its own, where it was told by the id of a trace."""
    by, journey = event["by"], event["journey"]
    if by == "trace_id" and _TRACE_ID.fullmatch(journey):
        return str(journey)
    return _digest(json.dumps([by, journey]), 16)


def _digest(text: str, size: int) -> str:
    return hashlib.blake2s(text.encode(errors="backslashreplace"), digest_size=size).hexdigest()


def _attribute(name: str, value: Any) -> dict[str, Any]:
    return {"key": _sound(name), "value": _value(value)}


def _value(value: Any) -> dict[str, Any]:
    """Return an AnyValue. Anything but text, numbers and booleans is written as JSON."""
    if isinstance(value, bool):  # before int, which it is one of
        return {"boolValue": value}
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": _sound(value if isinstance(value, str) else json.dumps(value))}


def _sound(text: str) -> str:
    """Return the text with halves of surrogate pairs escaped, which no UTF-8 can have."""
    return text.encode(errors="backslashreplace").decode()
