"""Rows of own work: a call to another service; there is no network."""

from collections.abc import Callable

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

import mqctx
from benchmarks import ways
from mqctx.formats.trace_context import start_trace
from mqctx.http_clients.httpx import ContextTransport


def with_httpx(way: str) -> Callable[[], object]:
    """Call with httpx, an id and a trace in the headers."""
    last = httpx.Request("GET", "http://none")

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal last
        last = request
        return httpx.Response(200)

    transport: httpx.BaseTransport = httpx.MockTransport(answer)
    if way in ways.OURS:
        transport = ContextTransport(transport, hosts=["api.internal"])
        ways.hold(ways.active(way, ways.VALUES))
        mqctx.bind(start_trace())
    client = httpx.Client(transport=transport)
    if way == ways.OTEL:
        HTTPXClientInstrumentor.instrument_client(client)
        ways.hold(ways.active(way, ways.VALUES))
    by_hand = {"x-request-id": ways.VALUES["request_id"], "traceparent": ways.TRACEPARENT}
    headers = by_hand if way == ways.BY_HAND else None

    def call() -> None:
        client.get("https://api.internal/orders", headers=headers)

    call()
    assert ("traceparent" in last.headers) == (way != ways.RAW)
    return call
