"""Messages that are published in contexts and spans, and what their handlers saw."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context as OtelContext
from opentelemetry.trace import SpanContext, TracerProvider

from mqctx import Context, JsonFormat, current
from mqctx.formats.trace_context import TraceContextFormat

CONTEXTS: list[dict[str, Any]] = [{"user": "ada"}, {}, {"user": "grace"}]
FORMATS: dict[str, Any] = {
    "json": [JsonFormat()],
    "trace": [JsonFormat(), TraceContextFormat()],
}


@dataclass
class SeenMessage:
    """A message as its handler saw it: its headers, and what was active."""

    headers: dict[str, Any]
    context: dict[str, Any] = field(default_factory=lambda: dict(current()))
    span: SpanContext = field(default_factory=lambda: trace.get_current_span().get_span_context())


class SpanPublisher:
    """Publishes a message in each of CONTEXTS, in a span of its own."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("publisher")
        self.spans: list[SpanContext] = []
        self.headers: list[dict[str, Any]] = [{"kind": "order"} for _ in CONTEXTS]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Give the headers of each message, in its context and span."""
        for context, headers in zip(CONTEXTS, self.headers, strict=True):
            with Context(context).scope(), self._tracer.start_as_current_span("publisher") as span:
                self.spans.append(span.get_span_context())
                yield headers


def check_seen(context: dict[str, Any], span: SpanContext, seen: SeenMessage, formats: str) -> None:
    """Check what became of a message that was published in a context and a span."""
    expected = {"kind", "mqctx"} if context else {"kind"}
    if span.is_valid or formats == "trace":
        expected.add("traceparent")
        _, trace_id, span_id, flags = seen.headers["traceparent"].split("-")
        # The trace is one, whoever started it.
        assert trace.format_trace_id(seen.span.trace_id) == trace_id
        assert span.trace_id in (seen.span.trace_id, trace.INVALID_TRACE_ID)
        if formats == "trace":
            context = {**context, "trace_id": trace_id, "span_id": span_id, "trace_flags": flags}
    assert set(seen.headers) == expected
    assert seen.context == context


def brought(otel: OtelContext) -> object:
    """Return the context that an OpenTelemetry context brought; None if nothing was read."""
    return otel.get("mqctx.context")
