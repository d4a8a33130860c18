"""The cost of a request, a log line, a call out and a scope, counted without a clock.

As in `test_hot_path.py`: calls and blocks of memory beyond those of the same without mqctx, upper
bounds for each Python that is supported, under coverage too.
"""

import contextvars
import logging
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import requests
import structlog
from loguru import logger
from multidict import CIMultiDict
from requests.adapters import BaseAdapter
from yarl import URL

import mqctx
from mqctx.formats.trace_context import start_trace
from mqctx.http_clients.aiohttp import ContextMiddleware as AiohttpMiddleware
from mqctx.http_clients.httpx import ContextTransport
from mqctx.http_clients.requests import ContextAdapter
from mqctx.logging.loguru import ContextPatcher
from mqctx.logging.stdlib import ContextFilter
from mqctx.logging.structlog import ContextProcessor
from mqctx.middleware import asgi, wsgi
from tests.counting import Call, Cost, added_cost, assert_within, take_over

pytestmark = pytest.mark.usefixtures("no_garbage")

ID = "0b5a2e1c5f3d4a7e9c8b7a6d5e4f3c2b"
VALUES = {f"name_{number}": f"value {number}" for number in range(5)}
# With OpenTelemetry loaded, as any other test may have done: it is asked for its current span.
EDGES = {
    "ASGI request": Cost(68, 22),
    "WSGI request": Cost(59, 17),
    "logging": Cost(11 if sys.version_info < (3, 12) else 13, 3),  # later, it makes a copy
    "structlog": Cost(7, 1),
    "loguru": Cost(6, 4),
    "httpx": Cost(73, 17),
    "requests": Cost(97, 26),
    "aiohttp": Cost(57, 13),
    "scope": Cost(19, 10),
    "Variable.get": Cost(1, 0),
    "Context.run": Cost(10, 9),
}
Edge = Callable[[], tuple[Call, Call]]


def asgi_request() -> tuple[Call, Call]:
    """Return a request with an id, without and with the middleware."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        take_over()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"OK"})

    async def nothing(*_: Any) -> None:
        pass

    def scope() -> dict[str, Any]:
        headers = [(b"host", b"localhost"), (b"x-request-id", ID.encode())]
        return {"type": "http", "method": "GET", "path": "/orders", "headers": headers}

    served = asgi.ContextMiddleware(app)
    return lambda: app(scope(), nothing, nothing), lambda: served(scope(), nothing, nothing)


def wsgi_request() -> tuple[Call, Call]:
    """Return a request with an id, without and with the middleware."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        take_over()
        start_response("200 OK", [])
        return [b"OK"]

    def ask(asked: Any) -> None:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/orders", "HTTP_X_REQUEST_ID": ID}
        body = asked(environ, lambda *_: None)
        for _ in body:
            pass
        getattr(body, "close", int)()

    served = wsgi.ContextMiddleware(app)
    return lambda: ask(app), lambda: ask(served)


class Taking(logging.Handler):
    """Takes a record over."""

    def emit(self, record: logging.LogRecord) -> None:
        """See what it holds."""
        take_over()


def stdlib_line() -> tuple[Call, Call]:
    """Return a log line of the standard library, without and with the filter."""
    plain, shown = Taking(), Taking()
    shown.addFilter(ContextFilter())

    def line(handler: logging.Handler) -> None:
        record = logging.LogRecord("bench", logging.INFO, "", 1, "billing", (), None)
        handler.handle(record)

    return lambda: line(plain), lambda: line(shown)


def structlog_line() -> tuple[Call, Call]:
    """Return a log line of structlog, without and with the processor."""

    def take(_: object, __: object, event: Any) -> str:
        take_over()
        return str(event["event"])

    def log(*processors: Any) -> Any:
        made = structlog.wrap_logger(
            structlog.ReturnLogger(), [*processors, take], structlog.BoundLogger
        )
        return made.bind()

    plain, shown = log(), log(ContextProcessor())
    return lambda: plain.info("billing"), lambda: shown.info("billing")


def loguru_line() -> tuple[Call, Call]:
    """Return a log line of loguru, without and with the patcher."""
    shown = logger.patch(ContextPatcher())
    return lambda: logger.info("billing"), lambda: shown.info("billing")


def httpx_call() -> tuple[Call, Call]:
    """Return a call with httpx, without and with the transport."""

    def answer(request: httpx.Request) -> httpx.Response:
        take_over()
        return httpx.Response(200)

    plain = httpx.MockTransport(answer)
    carrying = ContextTransport(plain, hosts=["api.internal"])

    def call(transport: httpx.BaseTransport) -> None:
        transport.handle_request(httpx.Request("GET", "https://api.internal/orders"))

    return lambda: call(plain), lambda: call(carrying)


def requests_call() -> tuple[Call, Call]:
    """Return a call with requests, without and with the adapter."""

    class Answering(BaseAdapter):
        def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> Any:
            take_over()
            return requests.Response()

    prepared = requests.Request("GET", "https://api.internal/orders").prepare()
    plain = Answering()
    carrying = ContextAdapter(plain, hosts=["api.internal"])
    return lambda: plain.send(prepared), lambda: carrying.send(prepared)


def aiohttp_call() -> tuple[Call, Call]:
    """Return a call with aiohttp, without and with the middleware."""
    request: Any = SimpleNamespace(
        method="GET", url=URL("https://api.internal/orders"), headers=CIMultiDict[str]()
    )

    async def answer(_: object) -> Any:
        take_over()
        return SimpleNamespace(status=200)

    carrying = AiohttpMiddleware(hosts=["api.internal"])
    return lambda: answer(request), lambda: carrying(request, answer)


def a_scope() -> tuple[Call, Call]:
    """Return a block, without and with two values."""

    def scoped() -> None:
        with mqctx.scope(request_id="r-1", tenant="acme"):
            take_over()

    return take_over, scoped


def a_get() -> tuple[Call, Call]:
    """Return reading a variable of one's own, and a declared one."""
    own: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="")
    declared = mqctx.Variable("name_0", str)

    def read(variable: Any) -> None:
        variable.get()
        take_over()

    return lambda: read(own), lambda: read(declared)


def a_run() -> tuple[Call, Call]:
    """Return an `async def`, and the same run in a context."""

    async def inside() -> None:
        take_over()

    context = mqctx.current()
    return inside, lambda: context.run(inside)


ALL: dict[str, Edge] = {
    "ASGI request": asgi_request,
    "WSGI request": wsgi_request,
    "logging": stdlib_line,
    "structlog": structlog_line,
    "loguru": loguru_line,
    "httpx": httpx_call,
    "requests": requests_call,
    "aiohttp": aiohttp_call,
    "scope": a_scope,
    "Variable.get": a_get,
    "Context.run": a_run,
}


@pytest.fixture(autouse=True)
def _sink() -> Iterator[None]:
    """Let loguru write where it is counted, and nowhere else."""
    logger.remove()
    sink = logger.add(lambda _: take_over(), format="{message}")
    yield
    logger.remove(sink)


def cost_of(edge: Edge) -> Cost:
    """Return what it costs in a context of five values and a trace."""

    def counted() -> Cost:
        with mqctx.scope(VALUES | start_trace()):
            return added_cost(*edge())

    return contextvars.Context().run(counted)


@pytest.mark.parametrize("name", ALL)
def test_what_shows_or_sends_a_context_stays_cheap(name: str) -> None:
    assert_within(cost_of(ALL[name]), EDGES[name])
