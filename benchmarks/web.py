"""Rows of own work: a web request through an ASGI middleware; there is no server."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import sentry_sdk
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from starlette_context import context
from starlette_context.middleware import RawContextMiddleware
from starlette_context.plugins import CorrelationIdPlugin, RequestIdPlugin

import mqctx
from benchmarks import ways
from mqctx.middleware.asgi import ContextMiddleware

_ID = "0b5a2e1c5f3d4a7e9c8b7a6d5e4f3c2b"  # of version 4, as the peers check
_SCOPE = {
    "type": "http",
    "http_version": "1.1",
    "scheme": "http",
    "method": "GET",
    "path": "/orders/17",
    "raw_path": b"/orders/17",
    "root_path": "",
    "query_string": b"",
    "client": ("127.0.0.1", 4711),
    "server": ("127.0.0.1", 8000),
}
_HEADERS = [(b"host", b"localhost"), (b"accept", b"*/*"), (b"user-agent", b"bench")]


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1")]})
    await send({"type": "http.response.body", "body": b"OK"})


async def _receive() -> Any:
    return {"type": "http.request"}


async def _send(message: Any) -> None:
    pass


def _serving(
    wrap: Callable[[Any], Any], read: Callable[[], object], headers: Any
) -> Callable[[], object]:
    """Return what asks once for a response, having seen that the application has a context."""

    async def checked(scope: Any, receive: Any, send: Any) -> None:
        assert read(), "the application has no context"
        await _app(scope, receive, send)

    async def ask(app: Any) -> None:
        await app({**_SCOPE, "headers": [*headers]}, _receive, _send)

    asyncio.run(ask(wrap(checked)))
    app = wrap(_app)

    async def call() -> None:
        await app({**_SCOPE, "headers": [*headers]}, _receive, _send)

    return call


def _of_all_kinds(app: Any, **settings: Any) -> Any:
    """Return the middleware, with a declared id, a linked value, and one that is bound inside."""
    mqctx.Variable("request_id", str)
    mqctx.Variable("locale", str, contextvar=ContextVar("linked"))

    async def binding(scope: Any, receive: Any, send: Any) -> None:
        mqctx.bind(session="s-0b7e61d2")
        await app(scope, receive, send)

    return ContextMiddleware(binding, values={"locale": "en-GB"}, **settings)


def request_id(way: str) -> Callable[[], object]:
    """Take an id from a header, show it on the response, and do nothing else."""
    own: ContextVar[str] = ContextVar("own")

    def by_hand(app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            found = next(value for key, value in scope["headers"] if key == b"x-request-id")

            async def answer(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"].append((b"x-request-id", found))
                await send(message)

            token = own.set(found.decode())
            try:
                await app(scope, receive, answer)
            finally:
                own.reset(token)

        return middleware

    with_mqctx = partial(ContextMiddleware, trace=False, access_log=False)
    of_all_kinds = partial(_of_all_kinds, trace=False, access_log=False)

    headers = [*_HEADERS, (b"x-request-id", _ID.encode())]
    return {
        ways.RAW: lambda: _serving(lambda app: app, lambda: True, headers),
        ways.BY_HAND: lambda: _serving(by_hand, own.get, headers),
        ways.CORRELATION_ID: lambda: _serving(CorrelationIdMiddleware, correlation_id.get, headers),
        ways.MQCTX: lambda: _serving(with_mqctx, mqctx.current, headers),
        ways.MIXED: lambda: _serving(of_all_kinds, mqctx.current, headers),
    }[way]()


def defaults(way: str) -> Callable[[], object]:
    """Make the ids of a request that brings none, with each middleware's default settings."""
    wrap, read = {
        ways.RAW: (lambda app: app, lambda: True),
        ways.STARLETTE_CONTEXT: (_starlette_context, lambda: context.data),
        ways.OTEL: (OpenTelemetryMiddleware, trace.get_current_span),
        ways.SENTRY: (SentryAsgiMiddleware, sentry_sdk.get_traceparent),
        ways.MQCTX: (ContextMiddleware, mqctx.current),
        ways.MIXED: (_of_all_kinds, mqctx.current),
    }[way]
    if way == ways.SENTRY:
        ways.start_sentry()
    return _serving(wrap, read, _HEADERS)


def _starlette_context(app: Any) -> Any:
    return RawContextMiddleware(app, plugins=(RequestIdPlugin(), CorrelationIdPlugin()))
