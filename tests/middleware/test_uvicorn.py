"""The ASGI middleware under uvicorn, on real sockets."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from websockets.asyncio.client import connect

from mqctx import InactiveError, bind, current
from mqctx.middleware.asgi import ContextMiddleware
from tests.middleware.conftest import Lines
from tests.middleware.protocols import active

other: contextvars.ContextVar[str] = contextvars.ContextVar("other", default="")


@asynccontextmanager
async def on_uvicorn(app: Any, **settings: Any) -> AsyncIterator[str]:
    """Serve on a free port; give host and port."""
    settings = {"lifespan": "on", **settings}
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, **settings)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(30):
            while not server.started:
                assert not task.done()
                await asyncio.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 30)


async def until_lines(lines: Lines, count: int) -> None:
    for _ in range(3000):
        if len(lines.records) >= count:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"{len(lines.records)} lines of {count}")


def all_active() -> dict[str, object]:
    return {**active("request_id", "user"), "other": other.get()}


app = FastAPI()
app.add_middleware(ContextMiddleware)


@app.get("/sync/{user}")
def sync_endpoint(user: str) -> list[object]:
    before = all_active()
    bind(user=user)
    return [before, all_active()]


@app.get("/async/{user}")
async def async_endpoint(user: str) -> list[object]:
    before = all_active()
    bind(user=user)
    other.set(user)
    for _ in range(5):
        await asyncio.sleep(0.005)
    return [before, all_active()]


@app.get("/fail")
async def fail() -> None:
    bind(user="eve")
    raise LookupError


@app.get("/parts/{user}")
def parts(user: str) -> StreamingResponse:
    def three() -> Iterator[str]:
        for _ in range(3):
            yield f"{current()['request_id']} {current()['user']},"

    bind(user=user)
    return StreamingResponse(three())


@app.get("/endless/{user}")
async def endless(user: str) -> StreamingResponse:
    async def dots() -> AsyncIterator[bytes]:
        while True:
            yield b"." * 65536
            await asyncio.sleep(0)

    bind(user=user)
    return StreamingResponse(dots())


@app.websocket("/live/{user}")
async def live(socket: WebSocket, user: str) -> None:
    bind(user=user)
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"{text} {current()['request_id']} {current()['user']}")


@pytest.mark.asyncio
async def test_requests_at_the_same_time_do_not_mix(lines: Lines) -> None:
    async def one(client: httpx.AsyncClient, n: int) -> None:
        kind = ("sync", "async")[n % 2]
        response = await client.get(f"/{kind}/u-{n}", headers={"X-Request-Id": f"r-{n}"})
        own = {"request_id": f"r-{n}", "user": f"u-{n}"}
        before, after = response.json()
        assert before == {"request_id": f"r-{n}", "user": None, "other": ""}
        assert after == own | {"other": f"u-{n}" if kind == "async" else ""}
        assert response.headers["x-request-id"] == f"r-{n}"

    async with (
        on_uvicorn(app) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as client,
    ):
        for start in (0, 50):  # the second fifty come on connections of the first
            await asyncio.gather(*(one(client, n) for n in range(start, start + 50)))
        await until_lines(lines, 100)
    pairs = {(context["request_id"], context["user"]) for context in lines.contexts}
    assert pairs == {(f"r-{n}", f"u-{n}") for n in range(100)}


@pytest.mark.asyncio
async def test_the_next_request_of_a_connection_starts_anew() -> None:
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    async with (
        on_uvicorn(app) as address,
        httpx.AsyncClient(base_url=f"http://{address}", limits=limits) as client,
    ):
        for n, path in enumerate(("/async/ada", "/fail", "/parts/ada")):
            await client.get(path, headers={"X-Request-Id": f"r-{n}"})
        response = await client.get("/async/eve", headers={"X-Request-Id": "r-3"})
    assert response.json()[0] == {"request_id": "r-3", "user": None, "other": ""}


class Requests:
    """An application, and what its requests found: outside of the middleware, and inside."""

    def __init__(self) -> None:
        self.found: list[tuple[object, ...]] = []
        self._inside = ContextMiddleware(self._answer, trace=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        outside = (dict(current()), other.get())
        with pytest.raises(InactiveError):
            bind(user="eve")
        await self._inside({**scope, "outside": outside}, receive, send)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.found.append((*scope["outside"], current().get("user"), other.get()))
        other.set("of the request before")
        bind(user="ada")
        while (await receive()).get("more_body"):
            pass
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_the_next_request_of_a_connection_starts_anew_pipelined_and_after_large_bodies(
    http: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def send_them() -> None:
        async with on_uvicorn(requests, http=http, lifespan="off") as address, asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n" * 2)
            for _ in range(2):
                head = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n"
                writer.write(head + b"x" * 1_000_000)
            for _ in range(4):
                await reader.readuntil(b"\r\n\r\n")
            writer.close()

    requests = Requests()
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(send_them())
    assert requests.found == [({}, "", None, "")] * 4


@pytest.mark.asyncio
async def test_an_exception_has_its_line_and_the_servers_page(lines: Lines) -> None:
    async with (
        on_uvicorn(app) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        response = await client.get("/fail", headers={"X-Request-Id": "r-1"})
        assert response.status_code == 500
        assert "x-request-id" not in response.headers
    assert lines.texts == ["request completed: GET /fail 500 (LookupError)"]
    assert lines.contexts[0]["user"] == "eve"


@pytest.mark.asyncio
async def test_a_stream_is_made_inside_the_context() -> None:
    async with (
        on_uvicorn(app) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        response = await client.get("/parts/ada", headers={"X-Request-Id": "r-1"})
    assert response.text == "r-1 ada," * 3


@pytest.mark.asyncio
async def test_a_client_that_leaves_is_noted_in_its_context(lines: Lines) -> None:
    async with (
        on_uvicorn(app) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        async with client.stream("GET", "/endless/ada") as response:
            async for _ in response.aiter_bytes():
                break
        await until_lines(lines, 1)
    assert lines.texts == ["request completed: GET /endless/ada 200 (client disconnected)"]
    assert lines.contexts[0]["user"] == "ada"


@pytest.mark.asyncio
async def test_websockets_have_one_context_each(lines: Lines) -> None:
    async def one(address: str, n: int) -> None:
        brought = {"X-Request-Id": f"r-{n}"}
        async with connect(f"ws://{address}/live/u-{n}", additional_headers=brought) as socket:
            assert socket.response is not None
            assert socket.response.headers["x-request-id"] == f"r-{n}"
            for said in ("a", "b"):
                await socket.send(said)
                assert await socket.recv() == f"{said} r-{n} u-{n}"

    async with on_uvicorn(app) as address:
        await asyncio.gather(*(one(address, n) for n in range(10)))
        await until_lines(lines, 10)
    assert sorted(lines.texts) == [f"websocket closed: GET /live/u-{n} 1000" for n in range(10)]
    pairs = {(context["request_id"], context["user"]) for context in lines.contexts}
    assert pairs == {(f"r-{n}", f"u-{n}") for n in range(10)}
