"""Rows of own work: a call to another service, an id and a trace in the headers; nothing is far.

httpx and requests have no network, aiohttp has a server that always answers the same.
"""

import asyncio
import io
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx
import requests
import urllib3
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from requests.adapters import HTTPAdapter
from sentry_sdk.integrations.aiohttp import AioHttpIntegration
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.stdlib import StdlibIntegration

import mqctx
from benchmarks import ways
from mqctx.formats.trace_context import start_trace
from mqctx.http_clients.aiohttp import ContextMiddleware
from mqctx.http_clients.httpx import ContextTransport
from mqctx.http_clients.requests import ContextAdapter

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_BY_HAND = {"x-request-id": ways.VALUES["request_id"], "traceparent": ways.TRACEPARENT}


def _started(way: str, integration: Any) -> dict[str, str] | None:
    """Set the way up, whatever the client; return the headers that are given by hand."""
    ways.hold(ways.active(way, ways.VALUES))
    if way in ways.OURS:
        mqctx.bind(start_trace())
    elif way == ways.SENTRY:
        ways.start_sentry(integration())
    return _BY_HAND if way == ways.BY_HAND else None


def _check(way: str, headers: Any) -> None:
    sent = str(headers).lower()
    assert ("sentry-trace" in sent) == (way == ways.SENTRY), f"{way}: {sent}"
    assert ("traceparent" in sent) == (way not in {ways.RAW, ways.SENTRY}), f"{way}: {sent}"


def with_httpx(way: str) -> Callable[[], object]:
    """Call with httpx."""
    headers = _started(way, HttpxIntegration)
    last = httpx.Request("GET", "http://none")

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal last
        last = request
        return httpx.Response(200)

    transport: httpx.BaseTransport = httpx.MockTransport(answer)
    if way in ways.OURS:
        transport = ContextTransport(transport, hosts=["api.internal"])
    client = httpx.Client(transport=transport)
    if way == ways.OTEL:
        HTTPXClientInstrumentor.instrument_client(client)

    def call() -> None:
        client.get("https://api.internal/orders", headers=headers)

    call()
    _check(way, last.headers)
    return call


def with_requests(way: str) -> Callable[[], object]:
    """Call with requests, down to a socket that is none."""
    sent = io.BytesIO()

    class Socket:
        def sendall(self, data: bytes) -> None:
            sent.write(data)

        def makefile(self, *_: object, **__: object) -> io.BytesIO:
            return io.BytesIO(_ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

        def close(self, *_: object) -> None:
            pass

        settimeout = shutdown = close

    def connect(self: Any) -> None:
        self.sock = Socket()
        sent.seek(0)

    urllib3.connection.HTTPConnection.connect = connect  # type: ignore[method-assign]
    headers = _started(way, StdlibIntegration)
    if way == ways.OTEL:
        RequestsInstrumentor().instrument()
    session = requests.Session()
    session.trust_env = False
    if way in ways.OURS:
        session.mount("http://", ContextAdapter(HTTPAdapter(), hosts=["api.internal"]))

    def call() -> None:
        session.get("http://api.internal/orders", headers=headers)

    call()
    _check(way, sent.getvalue())
    return call


def with_aiohttp(way: str) -> Callable[[], object]:
    """Call with aiohttp a server on the same loop, which reads nothing."""
    headers = _started(way, AioHttpIntegration)
    if way == ways.OTEL:
        AioHttpClientInstrumentor().instrument()
    sent: list[bytes] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self._transport = transport

        def data_received(self, data: bytes) -> None:
            sent[:] = [data]
            self._transport.write(_ANSWER)

    async def start() -> tuple[aiohttp.ClientSession, str]:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        context = [ContextMiddleware(hosts=["127.0.0.1"])] if way in ways.OURS else []
        session = aiohttp.ClientSession(middlewares=context)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/orders"
        (await session.get(url, headers=headers)).close()
        _check(way, sent)
        return session, url

    started: list[tuple[aiohttp.ClientSession, str]] = []

    async def call() -> None:
        if not started:
            started.append(await start())
        session, url = started[0]
        async with session.get(url, headers=headers):
            pass

    return call
