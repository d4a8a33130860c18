"""A message is in OpenTelemetry's trace if there is a current span, else in ours."""

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracerProvider,
    Span,
    SpanContext,
    TraceFlags,
    Tracer,
    TraceState,
)

from mqctx import Context, JsonFormat, Propagator, scope
from mqctx.formats.trace_context import TraceContextFormat, start_trace

BOTH = Propagator(formats=[JsonFormat(), TraceContextFormat()])
OURS = {"trace_id": "1" * 32, "span_id": "2" * 16, "trace_flags": "01"}
REMOTE = SpanContext(
    trace_id=int("a" * 32, 16),
    span_id=int("b" * 16, 16),
    is_remote=True,
    trace_flags=TraceFlags(TraceFlags.SAMPLED),
    trace_state=TraceState([("vendor", "1")]),
)


def ids_of(span: Span) -> list[str]:
    context = span.get_span_context()
    return [trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)]


def test_a_message_has_the_ids_of_the_current_span(tracer: Tracer) -> None:
    with scope(OURS, user="ada"), tracer.start_as_current_span("span") as span:
        headers = BOTH.inject()
        assert headers["mqctx"] == '{"user":"ada"}'
        assert headers["traceparent"].split("-")[1:3] == ids_of(span)
        received = BOTH.extract(headers)
    assert [received["trace_id"], received["span_id"]] == ids_of(span)
    assert "parent_span_id" not in received


def test_messages_of_one_context_follow_the_span_not_the_first_message(tracer: Tracer) -> None:
    with scope(user="ada"):
        for _ in range(2):
            with tracer.start_as_current_span("span") as span:
                assert BOTH.inject()["traceparent"].split("-")[1:3] == ids_of(span)
        assert BOTH.inject()["traceparent"].split("-")[1] != ids_of(tracer.start_span("span"))[0]


@pytest.mark.parametrize(("sampler", "sampled"), [(ALWAYS_ON, True), (ALWAYS_OFF, False)])
def test_a_message_says_whether_the_span_is_sampled(sampler: Sampler, sampled: bool) -> None:
    provider = TracerProvider(sampler, shutdown_on_exit=False)
    with provider.get_tracer("tests").start_as_current_span("span"):
        flags = int(BOTH.inject()["traceparent"].rsplit("-", 1)[1], 16)
        assert bool(flags & TraceFlags.SAMPLED) is sampled
        assert int(start_trace()["trace_flags"], 16) & TraceFlags.SAMPLED == sampled


def test_a_span_of_another_process_is_passed_on_with_its_state() -> None:
    with scope(OURS, tracestate="stale=1"), trace.use_span(NonRecordingSpan(REMOTE)):
        assert BOTH.inject() == {
            "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
            "tracestate": "vendor=1",
        }


def test_a_stale_state_does_not_travel_with_the_span(tracer: Tracer) -> None:
    with tracer.start_as_current_span("span"):
        stale = {"traceparent": "x", "tracestate": "stale=1", "kept": 1}
        with Context().scope():
            assert set(BOTH.inject(stale)) == {"traceparent", "kept"}


@pytest.mark.parametrize("without", ["any span", "an SDK"])
def test_without_a_valid_span_the_trace_is_ours(without: str) -> None:
    tracer = NoOpTracerProvider().get_tracer("tests")
    span = trace.INVALID_SPAN if without == "any span" else tracer.start_span("span")
    with scope(OURS), trace.use_span(span):
        fields = BOTH.inject()["traceparent"].split("-")
    assert fields[1] == OURS["trace_id"]
    assert fields[2] != OURS["span_id"]


def test_a_trace_that_starts_under_a_span_is_the_spans(tracer: Tracer) -> None:
    with tracer.start_as_current_span("span") as span:
        started = start_trace()
        assert [started["trace_id"], started["span_id"]] == ids_of(span)
    assert start_trace()["trace_id"] != started["trace_id"]


def test_a_trace_that_starts_under_a_span_of_another_process_is_that_ones() -> None:
    with trace.use_span(NonRecordingSpan(REMOTE)):
        assert start_trace() == {
            "trace_id": "a" * 32,
            "span_id": "b" * 16,
            "trace_flags": "01",
        }


PUBLISHED_WITHOUT = """
import sys
import mqctx
from mqctx.adapters.pika import publish
from mqctx.formats.trace_context import TraceContextFormat, start_trace

class Channel:
    def basic_publish(self, exchange, routing_key, body, properties, mandatory):
        print(*properties.headers)

mqctx.configure(formats=[mqctx.JsonFormat(), TraceContextFormat()])
with mqctx.scope(start_trace(), user="ada"):
    publish(Channel(), "", "orders", b"42")
print(*(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_publishing_without_opentelemetry_does_not_load_it() -> None:
    command = [sys.executable, "-c", PUBLISHED_WITHOUT]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == "mqctx traceparent tracestate\n\n"
