"""Each row of the page about migrating: what one used before, and mqctx in its place."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import celery
import httpx
import pytest
import structlog
from asgi_correlation_id import CorrelationIdFilter, CorrelationIdMiddleware, correlation_id
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider

import mqctx
from mqctx.adapters import celery as celery_adapter
from mqctx.logging.stdlib import ContextFilter
from mqctx.logging.structlog import ContextProcessor
from mqctx.middleware.asgi import ContextMiddleware
from mqctx.opentelemetry import ContextSpanProcessor
from mqctx.testing import celery_request

from .rows import Rows

rows = Rows("migrating.md")


def test_each_row_has_a_test() -> None:
    assert {*rows.all} == rows.shown.keys()
    assert len(rows.all) > 10


@pytest.fixture(autouse=True)
def _nothing_bound() -> Iterator[None]:
    yield
    structlog.contextvars.clear_contextvars()
    correlation_id.set(None)


async def shop(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with the id that it finds."""
    body = mqctx.current().get("request_id") or correlation_id.get()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(body).encode()})


def answer(application: Any, **headers: str) -> str:
    async def get() -> str:
        served = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=served, base_url="http://shop") as client:
            found = await client.get(
                "/", headers={k.replace("_", "-"): headers[k] for k in headers}
            )
            return found.text

    return asyncio.run(get())


class TestAsgiCorrelationId:
    @rows.shows("`header_name=`")
    def test_header_name(self) -> None:
        before = CorrelationIdMiddleware(shop, header_name="X-Id", validator=None)
        after = ContextMiddleware(shop, request_id_header="X-Id")
        assert answer(before, X_Id="r-1") == answer(after, X_Id="r-1") == "r-1"

    @rows.shows("`validator=`")
    def test_validator(self) -> None:
        before = CorrelationIdMiddleware(shop, validator=str.isupper)
        after = ContextMiddleware(shop, request_id_validator=str.isupper)
        for each in before, after:
            assert answer(each, X_Request_ID="R-1") == "R-1"
            assert answer(each, X_Request_ID="r-1") != "r-1"

    @rows.shows("`CorrelationIdFilter()`, `%(correlation_id)s`")
    def test_filter(self) -> None:
        record = logging.makeLogRecord({})
        correlation_id.set("r-1")
        CorrelationIdFilter().filter(record)
        with mqctx.scope(request_id="r-1"):
            shown: Any = ContextFilter().filter(record)
        line = logging.Formatter("%(correlation_id)s %(request_id)s")
        assert line.format(record if shown is True else shown) == "r-1 r-1"

    @rows.shows("its Celery extension, which left in version 5")
    def test_celery(self) -> None:
        assert request_id_in_a_worker() == "r-1"


def request_id_in_a_worker() -> object:
    """Return the id that a task finds which was sent in a request of another process."""
    app = celery.Celery("shop", broker="memory://", set_as_current=False)
    celery_adapter.instrument(app)

    @app.task(shared=False)
    def charge() -> object:
        return mqctx.current()["request_id"]

    return celery_request(charge, request_id="r-1").execute()


class TestStructlog:
    @rows.shows('`bind_contextvars(user="ada")`')
    def test_bind(self) -> None:
        structlog.contextvars.bind_contextvars(user="ada")
        with mqctx.scope():
            mqctx.bind(user="ada")
            assert event() == structlog.contextvars.get_contextvars() == {"user": "ada"}

    @rows.shows('`bound_contextvars(user="ada")`')
    def test_bound(self) -> None:
        with structlog.contextvars.bound_contextvars(user="ada"), mqctx.scope(user="ada"):
            assert event() == structlog.contextvars.get_contextvars() == {"user": "ada"}
        assert event() == structlog.contextvars.get_contextvars() == {}

    @rows.shows("`clear_contextvars()` at the start of each request")
    def test_clear(self) -> None:
        with mqctx.scope(user="eve"):
            assert mqctx.run({"request_id": "r-1"}, event) == {"request_id": "r-1"}

    @rows.shows('`unbind_contextvars("user")`')
    def test_unbind(self) -> None:
        with mqctx.scope(tenant="acme"):
            with mqctx.scope(user="ada"):
                assert event() == {"tenant": "acme", "user": "ada"}
            assert event() == {"tenant": "acme"}


def event() -> dict[str, Any]:
    """Return what an event of structlog gets."""
    return dict(ContextProcessor()(None, "info", {}))


class TestOpenTelemetry:
    @rows.shows('`attach(set_baggage("tenant", "acme"))`, `detach(token)`')
    @rows.shows('`get_baggage("tenant")`')
    def test_values(self) -> None:
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        with mqctx.scope(tenant="acme"):
            assert mqctx.current().get("tenant") == baggage.get_baggage("tenant") == "acme"
        context.detach(token)
        assert mqctx.current().get("tenant") is baggage.get_baggage("tenant") is None

    @rows.shows("`BaggageSpanProcessor`")
    def test_span_processor(self) -> None:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(ContextSpanProcessor(["tenant"]))
        with mqctx.scope(tenant="acme"):
            span: Any = provider.get_tracer("tests").start_span("bill")
        assert dict(span.attributes) == {"mqctx.tenant": "acme"}


SITE = """
import json
from types import SimpleNamespace

import django, httpx, mqctx, structlog
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.dispatch import receiver
from django.http import HttpResponse
from django.urls import path
from django_structlog import signals
from mqctx.logging.structlog import ContextProcessor
from mqctx.middleware.wsgi import ContextMiddleware

events = []

def keep(logger, method, event):
    events.append({**event, "mqctx": dict(mqctx.current())})
    raise structlog.DropEvent

def authenticate(get_response):
    def middleware(request):
        request.user = SimpleNamespace(pk=5)
        mqctx.bind(user_id=request.user.pk)
        return get_response(request)
    return middleware

def orders(request):
    mqctx.bind(tenant="acme")
    return HttpResponse()

@receiver(signals.bind_extra_request_metadata)
def bind(request, logger, **_):
    structlog.contextvars.bind_contextvars(host=request.get_host())
    mqctx.bind(shop=request.get_host())

structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
settings.configure(
    ALLOWED_HOSTS=["shop"],
    MIDDLEWARE=["__main__.authenticate", "django_structlog.middlewares.RequestMiddleware"],
    ROOT_URLCONF=(path("orders", orders),),
    DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID=True,
)
django.setup()
served = httpx.WSGITransport(ContextMiddleware(get_wsgi_application()))
with httpx.Client(transport=served, base_url="http://shop") as client:
    client.get("/orders", headers={"X-Request-Id": "r-1"})
print(json.dumps(events, default=str))
"""


@pytest.fixture(scope="module")
def finished() -> dict[str, Any]:
    """The event of django-structlog at the end of a request, and beside it the context."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SITE], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    events: list[dict[str, Any]] = json.loads(ran.stdout)
    (found,) = (each for each in events if each["event"] == "request_finished")
    return found


class TestDjangoStructlog:
    @rows.shows("`RequestMiddleware`")
    def test_both_have_the_same_request_id(self, finished: dict[str, Any]) -> None:
        assert finished["request_id"] == finished["mqctx"]["request_id"] == "r-1"

    @rows.shows("signal `bind_extra_request_metadata`")
    def test_more_values(self, finished: dict[str, Any]) -> None:
        assert finished["host"] == finished["mqctx"]["shop"] == "shop"

    @rows.shows("`DJANGO_STRUCTLOG_CELERY_ENABLED` and its `DjangoStructLogInitStep`")
    def test_celery(self) -> None:
        assert request_id_in_a_worker() == "r-1"

    @rows.shows("`user_id` in every event")
    def test_user(self, finished: dict[str, Any]) -> None:
        assert finished["user_id"] == finished["mqctx"]["user_id"] == 5
