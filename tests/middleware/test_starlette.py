"""Starlette and FastAPI: all the places in which their applications run code."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

import mqctx
from mqctx import bind, current
from mqctx.middleware.asgi import ContextMiddleware
from tests.middleware.conftest import Lines
from tests.middleware.protocols import active, get, http_scope

ONE = {"X-Request-Id": "r-1"}


async def user_async() -> None:
    bind(user="ada")


def user_sync() -> None:
    bind(user="ada")


async def yielding_async() -> AsyncIterator[None]:
    bind(user="ada")
    yield
    assert current()["done"] is True


def yielding_sync() -> Iterator[None]:
    bind(user="ada")
    yield
    assert current()["done"] is True


def finished() -> dict[str, object]:
    bind(done=True)
    return active("request_id", "user")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "dependency", [user_async, user_sync, yielding_async, yielding_sync], ids=lambda d: d.__name__
)
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_a_dependency_binds_is_seen_by_the_endpoint_and_by_the_log(
    lines: Lines, dependency: Callable[[], Any], kind: str
) -> None:
    app = FastAPI()
    app.add_middleware(ContextMiddleware)

    @app.get("/sync", dependencies=[Depends(dependency)])
    def sync_endpoint() -> dict[str, object]:
        return finished()

    @app.get("/async", dependencies=[Depends(dependency)])
    async def async_endpoint() -> dict[str, object]:
        return finished()

    response = await get(app, f"/{kind}", ONE, raising=False)
    assert response.json() == {"request_id": "r-1", "user": "ada"}
    assert response.headers["x-request-id"] == "r-1"
    assert lines.contexts[0]["user"] == "ada"


@pytest.mark.asyncio
async def test_background_tasks_have_the_context_and_come_after_the_line(lines: Lines) -> None:
    app = FastAPI()
    app.add_middleware(ContextMiddleware)
    seen: list[tuple[str, object, int]] = []

    async def async_task() -> None:
        seen.append(("async", current()["user"], len(lines.records)))

    def sync_task() -> None:
        seen.append(("sync", current()["user"], len(lines.records)))

    @app.get("/")
    def endpoint(tasks: BackgroundTasks) -> None:
        bind(user="ada")
        tasks.add_task(async_task)
        tasks.add_task(sync_task)

    await get(app, "/", ONE, raising=False)
    assert seen == [("async", "ada", 1), ("sync", "ada", 1)]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_streaming_response_is_made_inside_the_context(lines: Lines, kind: str) -> None:
    def sync_parts() -> Iterator[str]:
        for n in range(3):
            bind(part=n)
            yield f"{current()['user']}{current()['part']}"

    async def async_parts() -> AsyncIterator[str]:
        for part in sync_parts():
            await asyncio.sleep(0)
            yield part

    app = FastAPI()
    app.add_middleware(ContextMiddleware)

    @app.get("/")
    def endpoint() -> StreamingResponse:
        bind(user="ada")
        return StreamingResponse(sync_parts() if kind == "sync" else async_parts())

    assert (await get(app, "/", ONE, raising=False)).text == "ada0ada1ada2"
    assert lines.texts == ["request completed: GET / 200"]
    assert lines.contexts[0]["part"] == 2


class Base(BaseHTTPMiddleware):
    """Middleware of the kind in which context variables get lost."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        before = current().get("request_id")
        response: Response = await call_next(request)
        after = f"{before} {current().get('request_id')} {current().get('user')}"
        response.headers["X-Seen"] = after
        return response


@pytest.mark.asyncio
async def test_the_context_goes_through_base_http_middlewares_below(lines: Lines) -> None:
    async def endpoint(_request: Request) -> Response:
        bind(user="ada")
        return PlainTextResponse(current()["request_id"])

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(Base)
    app.add_middleware(Base)
    app.add_middleware(ContextMiddleware)
    response = await get(app, "/", ONE, raising=False)
    assert response.text == "r-1"
    assert response.headers["x-seen"] == "r-1 r-1 ada"
    assert lines.contexts[0]["user"] == "ada"
    assert current() == {}


@pytest.mark.asyncio
async def test_the_context_is_whole_below_a_base_http_middleware(lines: Lines) -> None:
    async def endpoint(request: Request) -> Response:
        request.headers.get("a")
        bind(user="ada")
        return PlainTextResponse(current()["request_id"])

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(ContextMiddleware)
    app.add_middleware(Base)
    response = await get(app, "/", ONE, raising=False)
    assert response.text == "r-1"
    assert response.headers["x-request-id"] == "r-1"
    assert response.headers["x-seen"] == "None None None"
    assert lines.contexts[0]["user"] == "ada"


@pytest.mark.asyncio
async def test_an_error_page_shows_the_id_where_the_middleware_is_around_the_application(
    lines: Lines,
) -> None:
    async def endpoint(_request: Request) -> Response:
        bind(user="ada")
        raise LookupError

    app = Starlette(routes=[Route("/", endpoint)])
    added = Starlette(routes=[Route("/", endpoint)])
    added.add_middleware(ContextMiddleware)
    response = await get(ContextMiddleware(app), "/", ONE, raising=False)
    assert (response.status_code, response.headers["x-request-id"]) == (500, "r-1")
    assert "x-request-id" not in (await get(added, "/", ONE, raising=False)).headers
    assert lines.texts == ["request completed: GET / 500 (LookupError)"] * 2
    assert [context["user"] for context in lines.contexts] == ["ada", "ada"]


@pytest.mark.asyncio
async def test_an_exception_leaves_nothing_active_in_the_task_of_the_server() -> None:
    async def endpoint(_request: Request) -> Response:
        bind(user="ada")
        raise LookupError

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(Base)
    app.add_middleware(ContextMiddleware)
    with mqctx.scope(request_id="before"):
        for _ in range(2):
            await get(app, "/", ONE, raising=False)
            assert current() == {"request_id": "before"}


@pytest.mark.asyncio
async def test_an_exception_handler_runs_inside_the_context(lines: Lines) -> None:
    async def endpoint(_request: Request) -> Response:
        bind(user="ada")
        raise LookupError

    async def handler(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse(current()["user"], 404)

    app = Starlette(routes=[Route("/", endpoint)], exception_handlers={LookupError: handler})
    app.add_middleware(ContextMiddleware)
    response = await get(app, "/", ONE, raising=False)
    assert (response.status_code, response.text) == (404, "ada")
    assert lines.texts == ["request completed: GET / 404"]


@pytest.mark.asyncio
async def test_a_mounted_application_with_a_middleware_of_its_own_keeps_the_requests_id(
    lines: Lines,
) -> None:
    async def endpoint(request: Request) -> Response:
        assert current()["url.path"] == "/inner/orders"
        return PlainTextResponse(current()["request_id"])

    class Rewriting:
        """Replaces what it passes on, as the ASGI specification advises."""

        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, "headers": []}, receive, send)

    inner = Starlette(routes=[Route("/orders", endpoint)])
    inner.add_middleware(ContextMiddleware)
    inner.add_middleware(Rewriting)
    app = Starlette(routes=[Mount("/inner", inner)])
    app.add_middleware(ContextMiddleware)
    response = await get(app, "/inner/orders", ONE, raising=False)
    assert response.text == "r-1"
    assert response.headers.get_list("x-request-id") == ["r-1"]
    assert lines.texts == ["request completed: GET /inner/orders 200"]


@pytest.mark.asyncio
async def test_requests_at_the_same_time_do_not_mix(lines: Lines) -> None:
    app = FastAPI()
    app.add_middleware(ContextMiddleware)
    arrived = 0
    all_here = asyncio.Event()

    async def authenticate(user: str) -> None:
        bind(user=user)

    @app.get("/")
    async def endpoint(user: Annotated[None, Depends(authenticate)]) -> dict[str, object]:
        nonlocal arrived
        arrived += 1
        if arrived == 50:
            all_here.set()
        await asyncio.wait_for(all_here.wait(), 30)
        return finished()

    async def one(n: int) -> None:
        response = await get(app, f"/?user=u-{n}", {"X-Request-Id": f"r-{n}"}, raising=False)
        assert response.json() == {"request_id": f"r-{n}", "user": f"u-{n}"}
        assert response.headers["x-request-id"] == f"r-{n}"

    await asyncio.gather(*(one(n) for n in range(50)))
    pairs = {(context["request_id"], context["user"]) for context in lines.contexts}
    assert pairs == {(f"r-{n}", f"u-{n}") for n in range(50)}


class Leaving:
    """A client that sends half a request, and leaves when it is told to."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.asked = False

    async def receive(self) -> dict[str, object]:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"{", "more_body": True}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await asyncio.sleep(0)


@pytest.mark.asyncio
@pytest.mark.parametrize("around", [[], [Base]], ids=["plain", "BaseHTTPMiddleware"])
async def test_a_client_that_leaves_a_stream_cancels_it_inside_its_context(
    lines: Lines, around: list[Any]
) -> None:
    cancelled: list[object] = []

    async def forever() -> AsyncIterator[bytes]:
        yield b"x"
        client.left.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(current()["user"])

    async def endpoint(_request: Request) -> Response:
        bind(user="ada")
        return StreamingResponse(forever())

    app = Starlette(routes=[Route("/", endpoint)])
    for middleware in around:
        app.add_middleware(middleware)
    app.add_middleware(ContextMiddleware)
    client = Leaving()
    # Before 2.4, Starlette watches for the client in a task group: the hard case.
    request = http_scope("/") | {"asgi": {"version": "3.0", "spec_version": "2.3"}}
    async with asyncio.timeout(10):
        await app(request, client.receive, client.send)
    assert cancelled == ["ada"]
    assert lines.texts == ["request completed: GET / 200 (client disconnected)"]
    assert lines.contexts[0]["user"] == "ada"
    assert current() == {}


@pytest.mark.asyncio
async def test_a_client_that_leaves_while_it_sends_is_a_499(lines: Lines) -> None:
    async def endpoint(request: Request) -> Response:
        await request.body()
        raise AssertionError

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(ContextMiddleware)
    client = Leaving()
    client.left.set()
    with pytest.raises(ClientDisconnect):
        await app(http_scope("/"), client.receive, client.send)
    assert lines.texts == ["request completed: GET / 499 (client disconnected)"]


@pytest.mark.asyncio
async def test_a_websocket_endpoint_has_one_context(lines: Lines) -> None:
    app = FastAPI()
    app.add_middleware(ContextMiddleware)

    @app.websocket("/live")
    async def endpoint(socket: WebSocket, _: Annotated[None, Depends(user_sync)]) -> None:
        await socket.accept()
        for _n in range(2):
            said = await socket.receive_text()
            await socket.send_text(f"{said} {current()['user']}")
        await socket.close(4000)

    incoming = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.receive", "text": "b"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    opened = http_scope("/live", [("X-Request-Id", "r-1")]) | {"type": "websocket"}
    await app(opened, receive, send)
    assert (b"x-request-id", b"r-1") in sent[0]["headers"]
    assert [message["text"] for message in sent[1:3]] == ["a ada", "b ada"]
    assert lines.texts == ["websocket closed: GET /live 4000"]


@pytest.mark.asyncio
async def test_lifespan_events_run_as_ever() -> None:
    ran: list[object] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        ran.append(dict(current()))
        yield
        ran.append(dict(current()))

    app = Starlette(lifespan=lifespan)
    app.add_middleware(ContextMiddleware)
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    with mqctx.scope(service="shop"):
        await app({"type": "lifespan", "app": app}, receive, send)
    assert ran == [{"service": "shop"}] * 2
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
