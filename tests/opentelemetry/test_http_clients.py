"""When OpenTelemetry traces HTTP calls, its ids are on the wire, with the request id beside."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mqctx import Propagator, scope
from mqctx.formats.trace_context import TraceContextFormat
from tests.http_clients.clients import (
    OURS,
    aiohttp_get,
    httpx_async_client,
    httpx_client,
    requests_session,
)
from tests.http_clients.server import Seen, Server

IN_TRACE = {"request_id": "r-1", "trace_id": "1" * 32, "span_id": "2" * 16, "trace_flags": "01"}


class Spans(InMemorySpanExporter):
    """The spans of a provider that is nobody else's."""

    def __init__(self) -> None:
        super().__init__()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self))

    def traceparents(self, name: str) -> list[str]:
        return [traceparent(span) for span in self.get_finished_spans() if span.name == name]


def traceparent(span: ReadableSpan) -> str:
    place = span.context
    assert place is not None
    return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def instrument(spans: Spans) -> Iterator[Callable[[], None]]:
    """Return a function that instruments both libraries, which is undone after the test."""
    instrumentors: list[Any] = [HTTPXClientInstrumentor(), RequestsInstrumentor()]

    def instrument() -> None:
        for instrumentor in instrumentors:
            instrumentor.instrument(tracer_provider=spans.provider)

    yield instrument
    for instrumentor in instrumentors:
        instrumentor.uninstrument()


def by_httpx(url: str, before: Callable[[], None]) -> None:
    with httpx_client(hosts=OURS) as client:
        before()
        client.get(url)


def by_httpx_async(url: str, before: Callable[[], None]) -> None:
    async def get() -> None:
        async with httpx_async_client(hosts=OURS) as client:
            before()
            await client.get(url)

    asyncio.run(get())


def by_requests(url: str, before: Callable[[], None]) -> None:
    with requests_session(hosts=OURS) as session:
        before()
        session.get(url)


def do_nothing() -> None:
    """Do nothing."""


each_client = pytest.mark.parametrize("call", [by_httpx, by_httpx_async, by_requests])
each_order = pytest.mark.parametrize("first", ["OpenTelemetry", "mqctx"])


def run_in_order(
    first: str, instrument: Callable[[], None], call: Callable[..., None], url: str
) -> None:
    if first == "OpenTelemetry":
        instrument()
    call(url, do_nothing if first == "OpenTelemetry" else instrument)


@each_client
@each_order
class TestInstrumented:
    def test_the_span_of_the_call_is_on_the_wire(
        self, call: Any, first: str, spans: Spans, server: Server, instrument: Any
    ) -> None:
        tracer = spans.provider.get_tracer("test")
        with scope(IN_TRACE, tracestate="vendor=7"), tracer.start_as_current_span("handler"):
            run_in_order(first, instrument, call, server.url())
        assert server.seen[0].headers.get_all("traceparent") == spans.traceparents("GET")
        assert server.seen[0].headers["tracestate"] is None
        assert server.seen[0].headers["X-Request-Id"] == "r-1"

    def test_the_span_of_the_call_counts_even_where_it_starts_a_trace(
        self, call: Any, first: str, spans: Spans, server: Server, instrument: Any
    ) -> None:
        with scope(IN_TRACE):
            run_in_order(first, instrument, call, server.url())
        assert server.seen[0].headers.get_all("traceparent") == spans.traceparents("GET")
        received = Propagator(formats=[TraceContextFormat()]).extract(in_dict(server.seen[0]))
        assert received.keys() == {"trace_id", "span_id", "trace_flags"}

    def test_a_host_that_is_not_allowed_sees_no_request_id(
        self, call: Any, first: str, spans: Spans, server: Server, instrument: Any
    ) -> None:
        with scope(IN_TRACE):
            run_in_order(first, instrument, call, server.redirecting(server.url(host="localhost")))
        assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", None]


def test_an_instrumented_httpx_client_sends_the_span_of_the_call(
    spans: Spans, server: Server
) -> None:
    with httpx_client(hosts=OURS) as client, scope(IN_TRACE):
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=spans.provider)
        client.get(server.url())
    assert server.seen[0].headers.get_all("traceparent") == spans.traceparents("GET")
    assert server.seen[0].headers["tracestate"] is None
    assert server.seen[0].headers["X-Request-Id"] == "r-1"


@pytest.mark.parametrize("call", [by_httpx, by_httpx_async, by_requests, aiohttp_get])
def test_a_library_that_is_not_instrumented_sends_the_current_span(
    call: Callable[..., object], spans: Spans, server: Server
) -> None:
    options = {"hosts": OURS} if call is aiohttp_get else {"before": do_nothing}
    tracer = spans.provider.get_tracer("test")
    with scope(IN_TRACE), tracer.start_as_current_span("handler"):
        call(server.url(), **options)
    assert server.seen[0].headers.get_all("traceparent") == spans.traceparents("handler")


def in_dict(seen: Seen) -> dict[str, str]:
    return dict(seen.headers.items())
