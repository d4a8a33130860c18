"""One request in two protocols: a WSGI application inside an ASGI one, and the other way round."""

import asyncio
import threading
import warnings
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from a2wsgi import ASGIMiddleware, WSGIMiddleware
from asgiref.wsgi import WsgiToAsgi
from starlette.applications import Starlette
from starlette.routing import Mount

from mqctx import Context, Scope, bind, current
from mqctx.middleware import asgi, wsgi
from tests.middleware.conftest import Lines
from tests.middleware.protocols import Ask, get

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette points to a2wsgi
    from starlette.middleware.wsgi import WSGIMiddleware as StarletteWSGI

ADAPTERS: dict[str, Callable[[Any], Any]] = {
    "a2wsgi": WSGIMiddleware,
    "starlette": StarletteWSGI,
    "asgiref": WsgiToAsgi,
}


def old_shop(environ: Any, start_response: Any) -> list[bytes]:
    bind(user="ada")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(current()["request_id"]).encode()]


async def new_shop(_scope: Any, receive: Any, send: Any) -> None:
    bind(user="ada")
    await receive()
    body = str(current()["request_id"]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
@pytest.mark.parametrize("brought", [{}, {"X-Request-Id": "r-1"}, {"X-Request-Id": "<b>"}])
@pytest.mark.parametrize("settings", [{}, {"trust_client": False, "headers": {"tag": "X-Tag"}}])
def test_wsgi_inside_asgi_has_one_id_and_one_line(
    adapter: Callable[[Any], Any],
    brought: dict[str, str],
    settings: dict[str, Any],
    lines: Lines,
) -> None:
    inner = adapter(wsgi.ContextMiddleware(old_shop))
    app = asgi.ContextMiddleware(Starlette(routes=[Mount("/old", inner)]), **settings)
    response = asyncio.run(get(app, "/old/orders", brought))
    assert response.text == response.headers["x-request-id"]
    assert [context["request_id"] for context in lines.contexts] == [response.text]
    assert lines.texts == ["request completed: GET /old/orders 200"]
    assert lines.contexts[0]["user"] == "ada"


def test_asgi_inside_wsgi_has_one_id_and_one_line(lines: Lines) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    inner = ASGIMiddleware(asgi.ContextMiddleware(new_shop), loop=loop)
    transport = httpx.WSGITransport(wsgi.ContextMiddleware(inner))
    with httpx.Client(transport=transport, base_url="http://shop") as client:
        response = client.get("/orders")
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
    assert response.text == response.headers["x-request-id"]
    assert [context["request_id"] for context in lines.contexts] == [response.text]
    assert lines.contexts[0]["user"] == "ada"


@pytest.mark.parametrize(
    "brought",
    [{}, {"X-Request-Id": "r-2"}, {"X-Request-Id": "r-1", "traceparent": "00-1-2-01"}],
    ids=["nothing", "another id", "another trace"],
)
def test_a_request_that_is_made_inside_another_one_is_a_request_of_its_own(
    brought: dict[str, str], lines: Lines
) -> None:
    async def gateway(_scope: Any, _receive: Any, send: Any) -> None:
        response = await get(asgi.ContextMiddleware(new_shop), "/orders", brought)
        assert "user" not in current()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": response.content})

    asyncio.run(get(asgi.ContextMiddleware(gateway), "/orders", {"X-Request-Id": "r-1"}))
    assert [context.get("user") for context in lines.contexts] == ["ada", None]


def test_a_request_of_another_path_that_is_made_inside_is_one_of_its_own(lines: Lines) -> None:
    def gateway(environ: Any, start_response: Any) -> list[bytes]:
        transport = httpx.WSGITransport(wsgi.ContextMiddleware(old_shop))
        with httpx.Client(transport=transport, base_url="http://shop") as client:
            body = client.get("/stock", headers={"X-Request-Id": "r-1"}).content
        start_response("200 OK", [])
        return [body]

    transport = httpx.WSGITransport(wsgi.ContextMiddleware(gateway))
    with httpx.Client(transport=transport, base_url="http://shop") as client:
        client.get("/orders", headers={"X-Request-Id": "r-1"})
    assert [context["url.path"] for context in lines.contexts] == ["/stock", "/orders"]


def test_a_request_in_the_handler_of_a_message_is_a_request_of_its_own(ask: Ask) -> None:
    seen: list[object] = []
    with Scope(Context(request_id="of the message"), headers={"mqctx": "{}"}):
        ask(lambda: seen.append(current()["request_id"]), [("X-Request-Id", "r-1")])
    assert seen == ["r-1"]
