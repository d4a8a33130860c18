"""Over HTTP: OpenTelemetry instruments the client, and traces the server as its middlewares do."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
import requests
from opentelemetry import trace
from opentelemetry.context import detach
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.utils import _start_internal_or_server_span
from opentelemetry.propagators.textmap import Getter

from mqctx import bind, current, scope

CARRIED = {"user": "ada", "name": "Zo\u00eb", "n": 5}
Seen = list[tuple[dict[str, Any], int]]

pytestmark = pytest.mark.usefixtures("activated")


@pytest.fixture
def handled() -> Seen:
    """The context and trace that each request's handler saw."""
    return []


class Environ(Getter[dict[str, Any]]):
    """As in OpenTelemetry's WSGI middleware."""

    def get(self, carrier: dict[str, Any], key: str) -> list[str] | None:
        value = carrier.get("HTTP_" + key.upper().replace("-", "_"))
        return None if value is None else [value]

    def keys(self, carrier: dict[str, Any]) -> list[str]:
        return [key[5:].lower().replace("_", "-") for key in carrier if key.startswith("HTTP_")]


class ScopeHeaders(Getter[dict[str, Any]]):
    """As in OpenTelemetry's ASGI middleware."""

    def get(self, carrier: dict[str, Any], key: str) -> list[str] | None:
        found = [v.decode() for k, v in carrier["headers"] if k.decode().lower() == key.lower()]
        return found or None

    def keys(self, carrier: dict[str, Any]) -> list[str]:
        return [k.decode() for k, _ in carrier["headers"]]


@contextmanager
def served(provider: trace.TracerProvider, carrier: Any, getter: Getter[Any]) -> Iterator[None]:
    """Serve a request, as OpenTelemetry's WSGI, ASGI, Flask and Django middlewares do."""
    tracer = provider.get_tracer("server")
    span, token = _start_internal_or_server_span(tracer, "GET", None, carrier, getter)
    try:
        with trace.use_span(span, end_on_exit=True):
            yield
    finally:
        if token is not None:
            detach(token)


def handle(seen: Seen) -> None:
    seen.append((dict(current()), trace.get_current_span().get_span_context().trace_id))
    if current():
        bind(bound=True)


def wsgi(provider: trace.TracerProvider, seen: Seen) -> Callable[..., list[bytes]]:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with served(provider, environ, Environ()):
            handle(seen)
        assert current() == {}
        start_response("200 OK", [])
        return []

    return app


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve a WSGI application, and give its address."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_a_context_reaches_a_wsgi_application_from_requests(
    either: trace.TracerProvider, handled: Seen
) -> None:
    instrumentor = RequestsInstrumentor()
    instrumentor.instrument(tracer_provider=either)
    try:
        with listening(wsgi(either, handled)) as url:
            for context in (CARRIED, {}):
                with (
                    scope(context),
                    either.get_tracer("client").start_as_current_span("s") as span,
                ):
                    assert requests.get(url, timeout=30).ok
                    assert current() == context
                assert handled[-1] == (context, span.get_span_context().trace_id)
    finally:
        instrumentor.uninstrument()


def test_a_context_reaches_an_asgi_application_from_httpx(
    either: trace.TracerProvider, handled: Seen
) -> None:
    async def app(request: Any, receive: Any, send: Any) -> None:
        with served(either, request, ScopeHeaders()):
            await asyncio.sleep(0)
            handle(handled)
        assert current() == {}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def server(*request: Any) -> None:
        # In a snapshot of its own, as in a process of its own.
        await asyncio.create_task(app(*request), context=contextvars.Context())

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(server)) as client:
            HTTPXClientInstrumentor.instrument_client(client, tracer_provider=either)
            for context in (CARRIED, {}):
                with (
                    scope(context),
                    either.get_tracer("client").start_as_current_span("s") as span,
                ):
                    assert (await client.get("http://shop/")).is_success
                    assert current() == context
                assert handled[-1] == (context, span.get_span_context().trace_id)

    asyncio.run(main())
