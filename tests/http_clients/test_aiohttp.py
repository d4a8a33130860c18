"""Behaviour particular to aiohttp."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, test_utils, web

from mqctx import scope
from mqctx.http_clients.aiohttp import ContextMiddleware
from tests.http_clients.clients import OURS, aiohttp_session
from tests.http_clients.server import Server


def run_work(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


def test_a_retry_that_another_middleware_makes_carries_the_context_of_then(
    server: Server,
) -> None:
    sent: list[ClientRequest] = []

    async def twice(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        sent.append(request)
        with scope(request_id="r-1", trace_id="1" * 32):
            (await handler(request)).release()
        with scope(request_id="r-2", trace_id="1" * 32):
            return await handler(request)

    async def call() -> None:
        async with (
            aiohttp.ClientSession(middlewares=(twice, ContextMiddleware(hosts=OURS))) as session,
            session.get(server.url()) as response,
        ):
            assert response.request_info.headers["X-Request-Id"] == "r-2"

    run_work(call())
    assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", "r-2"]
    assert len({seen.headers["traceparent"] for seen in server.seen}) == 2
    assert "X-Request-Id" not in sent[0].headers


def test_a_digest_authentication_sends_the_context_both_times(server: Server) -> None:
    digest = aiohttp.DigestAuthMiddleware("ada", "secret")

    async def call() -> None:
        async with (
            aiohttp.ClientSession(middlewares=(digest, ContextMiddleware(hosts=OURS))) as session,
            session.get(server.url("/digest")) as response,
        ):
            assert response.status == 200

    with scope(request_id="r-1"):
        run_work(call())
    assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", "r-1"]


def test_a_header_of_the_session_is_the_callers_own(server: Server) -> None:
    async def call() -> None:
        async with aiohttp_session(hosts=OURS) as session:
            session.headers["X-Request-Id"] = "fixed"
            await (await session.get(server.url())).read()

    with scope(request_id="r-1"):
        run_work(call())
    assert server.seen[0].headers.get_all("X-Request-Id") == ["fixed"]


def test_a_streamed_body_arrives(server: Server) -> None:
    async def body() -> Any:
        yield b"4"
        yield b"2"

    async def call() -> None:
        async with aiohttp_session(hosts=OURS) as session:
            await (await session.post(server.url(), data=body())).read()

    with scope(request_id="r-1"):
        run_work(call())
    assert (server.seen[0].method, server.seen[0].body) == ("POST", b"42")
    assert server.seen[0].headers["X-Request-Id"] == "r-1"


def test_the_middleware_may_be_given_to_one_call_alone(server: Server) -> None:
    async def call() -> None:
        middleware = ContextMiddleware(hosts=OURS)
        async with aiohttp.ClientSession() as session:
            await (await session.get(server.url(), middlewares=[middleware])).read()
            await (await session.get(server.url())).read()

    with scope(request_id="r-1"):
        run_work(call())
    assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", None]


@pytest.mark.parametrize("hosts", [OURS, []])
def test_a_websocket_is_a_call_too(hosts: list[str]) -> None:
    opened: list[str | None] = []

    async def on_socket(request: web.Request) -> web.WebSocketResponse:
        opened.append(request.headers.get("X-Request-Id"))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()  # the client closes it: at once, it might not have it yet
        return socket

    async def call() -> None:
        app = web.Application()
        app.router.add_get("/", on_socket)
        async with (
            test_utils.TestServer(app, host="127.0.0.1") as served,
            aiohttp_session(hosts=hosts) as session,
            session.ws_connect(served.make_url("/")) as socket,
        ):
            await socket.close()

    with scope(request_id="r-1"):
        run_work(call())
    assert opened == (["r-1"] if hosts else [None])
