"""Django: sync and async views and middlewares, by WSGI and by ASGI."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import django
import httpx
import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import async_only_middleware, sync_only_middleware
from django.utils.functional import empty

from mqctx import bind, current
from mqctx.middleware import asgi, wsgi
from tests.middleware.conftest import Lines
from tests.middleware.protocols import http_scope


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    """Give Django settings of these tests only; else one process can configure it only once."""
    before = vars(settings)["_wrapped"]
    settings._wrapped = cast("Any", empty)
    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=URLS, LOGGING_CONFIG=None, SECRET_KEY="for tests"
    )
    django.setup()
    yield
    settings._wrapped = before


@sync_only_middleware
def sync_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    def middleware(request: HttpRequest) -> Any:
        bind(by_sync=current().get("by_async", "first"))
        response = get_response(request)
        response["X-Seen-By-Sync"] = str(current().get("by_view"))
        return response

    return middleware


@async_only_middleware
def async_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    async def middleware(request: HttpRequest) -> Any:
        bind(by_async=current().get("by_sync", "first"))
        response = await get_response(request)
        response["X-Seen-By-Async"] = str(current().get("by_view"))
        return response

    return middleware


NAMES = ("request_id", "by_sync", "by_async")
EXPECTED = {
    "sync_middleware": ("first", None),
    "async_middleware": (None, "first"),
    "sync_middleware async_middleware": ("first", "first"),
    "async_middleware sync_middleware": ("first", "first"),
}


def sync_view(_request: HttpRequest) -> HttpResponse:
    bind(by_view="view")
    return JsonResponse({name: current().get(name) for name in NAMES})


async def async_view(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return sync_view(request)


def sync_stream(_request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        for n in range(3):
            bind(part=n)
            yield f"{current()['request_id']} "

    return StreamingHttpResponse(parts())


async def async_stream(_request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for n in range(3):
            bind(part=n)
            yield f"{current()['request_id']} "

    return StreamingHttpResponse(parts())


def fail(_request: HttpRequest) -> HttpResponse:
    bind(by_view="view")
    raise LookupError


async def wait(_request: HttpRequest) -> HttpResponse:
    waiting.set()
    try:
        await asyncio.sleep(60)
    finally:
        ended.append(current().get("request_id"))
    raise AssertionError


waiting = asyncio.Event()
ended: list[object] = []
URLS = tuple(
    path(view.__name__, view)
    for view in (sync_view, async_view, sync_stream, async_stream, fail, wait)
)


def get_by_wsgi(url: str) -> httpx.Response:
    app: Any = wsgi.ContextMiddleware(get_wsgi_application())
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
        return client.get(url, headers={"X-Request-Id": "r-1"})


def get_by_asgi(url: str) -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(asgi.ContextMiddleware(get_asgi_application()))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.get(url, headers={"X-Request-Id": "r-1"})

    return asyncio.run(get())


BOTH = pytest.mark.parametrize("get", [get_by_wsgi, get_by_asgi])


@BOTH
@pytest.mark.parametrize("view", ["sync_view", "async_view"])
@pytest.mark.parametrize("middlewares", list(EXPECTED))
def test_what_is_bound_is_seen_by_all_that_comes_after(
    lines: Lines, get: Callable[[str], httpx.Response], view: str, middlewares: str
) -> None:
    settings.MIDDLEWARE = [f"{__name__}.{name}" for name in middlewares.split()]
    response = get(f"/{view}")
    by_sync, by_async = EXPECTED[middlewares]
    assert response.json() == {"request_id": "r-1", "by_sync": by_sync, "by_async": by_async}
    assert response.headers["x-request-id"] == "r-1"
    seen = {text for name, text in response.headers.items() if name.startswith("x-seen")}
    assert seen == {"view"}
    assert lines.texts == [f"request completed: GET /{view} 200"]
    assert lines.contexts[0]["by_view"] == "view"
    assert current() == {}


@pytest.mark.parametrize(
    ("get", "view"), [(get_by_wsgi, "sync_stream"), (get_by_asgi, "async_stream")]
)
def test_a_stream_is_made_inside_the_context(
    lines: Lines, get: Callable[[str], httpx.Response], view: str
) -> None:
    assert get(f"/{view}").text == "r-1 r-1 r-1 "
    assert lines.contexts[0]["part"] == 2


@BOTH
@pytest.mark.filterwarnings("ignore:.*LookupError.*")
def test_an_error_page_shows_the_id(lines: Lines, get: Callable[[str], httpx.Response]) -> None:
    response = get("/fail")
    assert (response.status_code, response.headers["x-request-id"]) == (500, "r-1")
    assert lines.texts == ["request completed: GET /fail 500"]
    assert lines.contexts[0]["by_view"] == "view"


@pytest.mark.asyncio
async def test_a_client_that_leaves_cancels_the_view_inside_its_context(lines: Lines) -> None:
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        if len(messages) == 1:
            await asyncio.wait_for(waiting.wait(), 10)
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    app = asgi.ContextMiddleware(get_asgi_application())
    await app(http_scope("/wait", [("X-Request-Id", "r-1")]), receive, send)
    assert ended == ["r-1"]
    assert lines.texts == ["request completed: GET /wait 499 (client disconnected)"]
