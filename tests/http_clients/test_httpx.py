"""Behaviour particular to httpx."""

import asyncio
import logging
import threading

import httpx
import pytest

from mqctx import scope
from mqctx.http_clients.httpx import AsyncContextTransport, ContextTransport
from tests.http_clients.clients import OURS, httpx_async_client, httpx_client
from tests.http_clients.server import SECONDS, Server


def test_a_request_that_is_sent_twice_carries_each_time_the_context_of_then(
    server: Server,
) -> None:
    with httpx_client(hosts=OURS) as client:
        request = client.build_request("POST", server.url(), content=b"42")
        before = request.headers.copy()
        for request_id in ("r-1", "r-2"):
            with scope(request_id=request_id):
                assert client.send(request).request is request
    assert request.headers == before
    assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", "r-2"]
    assert [seen.body for seen in server.seen] == [b"42", b"42"]


def test_a_streamed_body_method_and_extensions_arrive(server: Server) -> None:
    told: list[str] = []
    with httpx_client(hosts=OURS) as client, scope(request_id="r-1"):
        client.post(
            server.url(),
            content=iter([b"4", b"2"]),
            extensions={"trace": lambda name, _: told.append(name)},
        )
    assert (server.seen[0].method, server.seen[0].body) == ("POST", b"42")
    assert "http11.send_request_headers.complete" in told


def test_a_digest_authentication_sends_the_context_both_times(server: Server) -> None:
    with httpx_client(hosts=OURS) as client, scope(request_id="r-1", trace_id="1" * 32):
        auth = httpx.DigestAuth("ada", "secret")
        assert client.get(server.url("/digest"), auth=auth).status_code == 200
    assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", "r-1"]
    assert len({seen.headers["traceparent"] for seen in server.seen}) == 2


def test_a_header_of_the_client_is_the_callers_own(server: Server) -> None:
    with httpx_client(hosts=OURS) as client, scope(request_id="r-1"):
        client.headers["X-Request-Id"] = "fixed"
        client.get(server.url())
    assert server.seen[0].headers.get_all("X-Request-Id") == ["fixed"]


def test_closing_the_client_closes_the_inner_transport() -> None:
    closed: list[str] = []

    class Inner(httpx.MockTransport):
        def close(self) -> None:
            closed.append("sync")

        async def aclose(self) -> None:
            closed.append("async")

    inner = Inner(lambda _: httpx.Response(200))
    with httpx.Client(transport=ContextTransport(inner, hosts=[])):
        pass

    async def enter_and_leave() -> None:
        async with httpx.AsyncClient(transport=AsyncContextTransport(inner, hosts=[])):
            pass

    asyncio.run(enter_and_leave())
    assert closed == ["sync", "async"]


def test_a_cancelled_call_is_logged_as_such(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def cancelled() -> None:
        async with httpx_async_client(hosts=OURS, log=True) as client:
            call = asyncio.create_task(client.get(server.url("/late"), timeout=None))
            await asyncio.to_thread(server.asked.wait, SECONDS)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    caplog.set_level(logging.INFO, "mqctx.calls")
    asyncio.run(asyncio.wait_for(cancelled(), 20))
    (record,) = (record for record in caplog.records if record.name == "mqctx.calls")
    assert vars(record)["error.type"] == "CancelledError"


def test_a_thread_without_context_sends_nothing(server: Server) -> None:
    with httpx_client(hosts=OURS) as client, scope(request_id="r-1"):
        thread = threading.Thread(target=client.get, args=(server.url(),))
        thread.start()
        thread.join()
    assert server.seen[0].headers["X-Request-Id"] is None
