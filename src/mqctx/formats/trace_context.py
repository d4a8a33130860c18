"""W3C Trace Context (https://www.w3.org/TR/trace-context/): `traceparent` and `tracestate`."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, NamedTuple

from mqctx._core.rejection import Rejection, Report
from mqctx._core.values import JSONValue, escape
from mqctx.formats._format import Headers, header_size, members_of, text_in

__all__ = ["TraceContextFormat", "start_trace"]

_PARENT: Final = "traceparent"
_STATE: Final = "tracestate"
# W3C Trace Context 3.2.2: version 00 has 55 characters; a later one may go on after another dash.
_TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
# 3.3.1.3, level 2: the key; printable text without comma and equals sign.
_MEMBER = re.compile(r"([a-z0-9][a-z0-9_*/@-]{0,255})=([ -+\--<>-~]{0,255}[!-+\--<>-~])")
_ID = re.compile(r"(?!0+$)(?:[0-9a-f]{32}|[0-9a-f]{16})")
_MAX_MEMBERS = 32
# 3.3.1.5: at least 512 characters should be passed on; where some must go, first those over 128.
_MAX_STATE = 512
_LONG_MEMBER = 128
_OURS: Final = "mqctx"
_LEAST: Final = header_size(_PARENT, "0" * 55) + header_size(_STATE, "")
"""The bytes of a `traceparent`, and of a `tracestate` without members."""
_ENOUGH: Final = _LEAST + len(f"{_OURS}={0:016x}-{0:016x}")
"""The bytes of both, with no member but ours."""


def start_trace(*, sampled: bool = True) -> dict[str, str]:
    """Return the values of a new trace, to begin a scope with: `scope(start_trace())`.

    If OpenTelemetry has a current span, they are that span's, and its trace's.

    Args:
        sampled: The flag of the trace: whether its spans are to be recorded.
    """
    return trace_of(new_id(24), "01" if sampled else "00")


def trace_of(ids: str, flags: str = "01") -> dict[str, str]:
    """Return a new trace of these 48 hex digits, or that of OpenTelemetry's current span."""
    span = _opentelemetry_span()
    if span is None:
        return {"trace_id": ids[:32], "span_id": ids[32:], "trace_flags": flags}
    return {
        "trace_id": f"{span.trace_id:032x}",
        "span_id": f"{span.span_id:016x}",
        "trace_flags": f"{span.trace_flags:02x}",
    }


class TraceContextFormat:
    """W3C Trace Context: each message is a span, whose parent is the span that is active.

    In the context: `trace_id` and `span_id`; `parent_span_id` if mqctx wrote the message;
    `trace_flags`, and the `tracestate` of other vendors. No other format writes these names.

    If no trace is active, messages start one: all messages of a context the same, messages
    without context one each. If OpenTelemetry has a current span, OpenTelemetry writes the
    headers.

    Args:
        sampled: The flag of the traces that start here. A receiver whose sampler follows its
            parent, as OpenTelemetry's does, records nothing without it.
    """

    __slots__ = ("sampled",)

    headers: tuple[str, ...] = (_PARENT, _STATE)
    header_prefix = None
    owned_names: tuple[str, ...] = (
        "trace_id",
        "span_id",
        "parent_span_id",
        "trace_flags",
        "tracestate",
    )
    properties: tuple[str, ...] = ()
    yields_plain_json = True
    verifies = False
    decode_text = None
    join = None

    def __init__(self, *, sampled: bool = True) -> None:
        self.sampled: bool = sampled

    def encode(self, values: Mapping[str, JSONValue]) -> Callable[[int], Mapping[str, str]]:
        """Return a function that makes the headers of one message, each message a new span.

        It writes as many members of a `tracestate` as there is room for.
        """
        # Messages without any value have nothing in common: each starts a trace, below.
        trace = _active(values)
        if trace is None and values:
            trace = _start(self.sampled)
        others = _members(values.get(_STATE)) or {}

        def headers(room: int) -> Mapping[str, str]:
            written = _opentelemetry_headers(room)
            return written or _headers(trace or _start(self.sampled), others, room)

        return headers

    def decode(self, headers: Headers, max_bytes: int, report: Report) -> Mapping[str, JSONValue]:
        """Return the trace that the headers carry; a bad `tracestate` does not affect the rest."""
        text = text_in(headers, _PARENT, max_bytes, report)
        if text is None:
            return {}
        match = _TRACEPARENT.fullmatch(text)
        if match is None:
            report(Rejection("extract", _PARENT, None, "malformed", escape(text)))
            return {}
        trace_id, span_id, flags = match.groups()
        # Only these two flags are defined (3.2.2.5, level 2); others must not be passed on.
        values = {
            "trace_id": trace_id,
            "span_id": span_id,
            "trace_flags": f"{int(flags, 16) & 3:02x}",
        }
        return values | self._decode_state(span_id, headers, max_bytes, report)

    def _decode_state(
        self, span_id: str, headers: Headers, max_bytes: int, report: Report
    ) -> dict[str, str]:
        text = text_in(headers, _STATE, max_bytes, report)
        if text is None:
            return {}
        members = _members(text)
        if members is None:
            report(Rejection("extract", _STATE, None, "malformed", escape(text)))
            return {}
        return _values_of(members, span_id)

    def strip(self, headers: dict[str, Any]) -> None:
        """Remove both headers from `headers`, in place."""
        headers.pop(_PARENT, None)
        headers.pop(_STATE, None)

    def __repr__(self) -> str:
        return f"TraceContextFormat(sampled={self.sampled})"


def _values_of(members: dict[str, str], span_id: str) -> dict[str, str]:
    """Return the values that the members of a `tracestate` carry beside those of this span."""
    values: dict[str, str] = {}
    parent, _, of_span = members.pop(_OURS, "").partition("-")
    # A tracer that continued the trace meanwhile left our member as it was: for another span.
    if of_span == span_id and _ID.fullmatch(parent):
        values["parent_span_id"] = parent
    if members:
        values[_STATE] = _state(members)
    return values


def new_id(size: int) -> str:
    """Return `size` random bytes, 8 or more, as hex digits.

    They come from the system, so that processes differ however they seed `random`, or fork.
    No id may be all zeros; the chance of that is at most one in 2 to the 64th.
    """
    return os.urandom(size).hex()


# Of its own, so that nobody else seeds it, and seeded by the system, in a forked process anew.
_spans = Random()  # noqa: S311 - no secret, and unique as it is
# Windows has no such hook, nor what it is for.
getattr(os, "register_at_fork", dict)(after_in_child=_spans.seed)


def _new_span_id() -> str:
    """Return the id of a message's, or a call's, own span.

    It need only be unique in its trace, so it is not worth asking the system each time.
    """
    return _spans.getrandbits(64).to_bytes(8, "big").hex()


class _Trace(NamedTuple):
    """The place of a message in a trace."""

    trace_id: str
    parent: str | None
    flags: str


def _active(values: Mapping[str, JSONValue]) -> _Trace | None:
    """Return the trace in `values`, None if there is none, or something else in its place."""
    trace_id, span_id, flags = map(values.get, ("trace_id", "span_id", "trace_flags"))
    if not _is_id(trace_id, 32):
        return None
    return _Trace(
        str(trace_id),
        str(span_id) if _is_id(span_id, 16) else None,
        # Recorded, if in doubt: what a parent leaves out, its children leave out too.
        str(flags) if flags in ("00", "01", "02", "03") else "01",
    )


def _start(sampled: bool) -> _Trace:
    return _Trace(new_id(16), None, "01" if sampled else "00")


def _headers(trace: _Trace, others: Mapping[str, str], room: int) -> Mapping[str, str]:
    span_id = _new_span_id()
    written = {_PARENT: f"00-{trace.trace_id}-{span_id}-{trace.flags}"}
    state = f"{_OURS}={trace.parent}-{span_id}" if trace.parent else ""
    if others or room < _ENOUGH:
        # A vendor that changes a `tracestate` puts its own member first (3.5).
        ours = {_OURS: f"{trace.parent}-{span_id}"} if trace.parent else {}
        state = _state({**ours, **others}, min(room - _LEAST, _MAX_STATE))
    if state:
        written[_STATE] = state
    return written


def _is_id(value: JSONValue, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and _ID.fullmatch(value) is not None


def _members(text: JSONValue) -> dict[str, str] | None:
    """Return the members of a `tracestate` by key, None if it is malformed or no text.

    If a key comes twice, which breaks 3.3.1.3, the first member counts: it is the newest.
    """
    if not isinstance(text, str):
        return None
    parts = members_of(text)
    if len(parts) > _MAX_MEMBERS:
        return None
    members: dict[str, str] = {}
    for part in parts:
        match = _MEMBER.fullmatch(part)
        if match is None:
            return None
        members.setdefault(match[1], match[2])
    return members


def _state(members: Mapping[str, str], room: int = _MAX_STATE) -> str:
    """Return a `tracestate` of as many members as may be passed on, in `room` bytes."""
    parts = [f"{key}={value}" for key, value in members.items()][:_MAX_MEMBERS]
    while len(state := ",".join(parts)) > room and parts:
        parts.remove(_first_to_go(parts))
    return state


def _first_to_go(parts: list[str]) -> str:
    """Return the oldest of the long members, or of all if none is long (3.3.1.5)."""
    long = [part for part in parts if len(part) > _LONG_MEMBER]
    return (long or parts)[-1]


def _opentelemetry_span() -> Any:
    """Return the context of OpenTelemetry's current span, None if there is none.

    Without `opentelemetry.trace` loaded there is no span; to import it here would load it for all.
    """
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    span = api.get_current_span()
    if span is api.INVALID_SPAN:  # known without asking it, as mostly
        return None
    context = span.get_span_context()
    return context if context.is_valid else None


def _opentelemetry_headers(room: int) -> dict[str, str]:
    """Return the headers that OpenTelemetry writes for its current span, none if it has none.

    Of its `tracestate`, which an HTTP client may have sent, keep the members that have room.
    """
    if _opentelemetry_span() is None:
        return {}
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 - see above

    written: dict[str, str] = {}
    tracecontext.TraceContextTextMapPropagator().inject(written)
    state = _state(_members(written.pop(_STATE, None)) or {}, room - _LEAST)
    return {**written, _STATE: state} if state else written
