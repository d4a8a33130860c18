"""Rows of own work: a request to a WSGI application, bare or of a framework; there is no server."""

import io
from collections.abc import Callable, Iterable
from typing import Any

import django
import flask
import sentry_sdk
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from opentelemetry import trace
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.flask import FlaskIntegration
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

import mqctx
from benchmarks import ways
from mqctx.middleware.wsgi import ContextMiddleware

_ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/orders",
    "QUERY_STRING": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "localhost",
    "HTTP_ACCEPT": "*/*",
    "wsgi.url_scheme": "http",
    "wsgi.input": io.BytesIO(),
}
_READ = {
    **dict.fromkeys(ways.OURS, mqctx.current),
    ways.OTEL: trace.get_current_span,
    ways.SENTRY: sentry_sdk.get_traceparent,
}


def bare(way: str) -> Callable[[], object]:
    """Ask an application of two lines."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        assert _has_context(way)
        start_response("200 OK", [("X-A", "1")])
        return [b"OK"]

    if way == ways.SENTRY:
        ways.start_sentry()
    known: dict[str, Any] = {ways.OTEL: OpenTelemetryMiddleware, ways.SENTRY: SentryWsgiMiddleware}
    return _asking(way, known[way](app) if way in known else app)


def with_flask(way: str) -> Callable[[], object]:
    """Ask an application of Flask."""
    if way == ways.SENTRY:
        ways.start_sentry(FlaskIntegration())
    app = flask.Flask("bench")

    @app.get("/orders")
    def orders() -> str:
        assert _has_context(way)
        return "OK"

    if way == ways.OTEL:
        FlaskInstrumentor().instrument_app(app)
    return _asking(way, app)


def with_django(way: str) -> Callable[[], object]:
    """Ask an application of Django."""

    def orders(request: HttpRequest) -> HttpResponse:
        assert _has_context(way)
        return HttpResponse("OK")

    settings.configure(ALLOWED_HOSTS=["localhost"], ROOT_URLCONF=(path("orders", orders),))
    if way == ways.SENTRY:
        ways.start_sentry(DjangoIntegration())
    elif way == ways.OTEL:
        DjangoInstrumentor().instrument()
    django.setup()
    return _asking(way, get_wsgi_application())


def _has_context(way: str) -> bool:
    return way == ways.RAW or bool(_READ[way]())


def _asking(way: str, app: Any) -> Callable[[], object]:
    asked = ContextMiddleware(app) if way in ways.OURS else app
    started: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        started[:] = [status]

    def call() -> None:
        body = asked({**_ENVIRON}, start_response)
        for _ in body:
            pass
        if hasattr(body, "close"):
            body.close()

    call()
    assert started == ["200 OK"], f"{way}: {started}"
    return call
