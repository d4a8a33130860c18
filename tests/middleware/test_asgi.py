"""The ASGI middleware by the bare protocol: streams, disconnects, websockets, other scopes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from mqctx import InactiveError, Variable, bind, current, scope
from mqctx.middleware.asgi import ContextMiddleware
from tests.middleware.conftest import Lines
from tests.middleware.protocols import http_scope

START = {"type": "http.response.start", "status": 200}
FAILED = {"type": "http.response.start", "status": 500}
MORE = {"type": "http.response.body", "body": b"x", "more_body": True}
LAST = {"type": "http.response.body", "body": b"x"}
GONE = {"type": "http.disconnect"}
CONNECT = {"type": "websocket.connect"}
ACCEPT: dict[str, Any] = {"type": "websocket.accept", "headers": [(b"a", b"b")]}

App = Callable[[Any, Any, Any], Awaitable[None]]


other: ContextVar[str] = ContextVar("other", default="outside")


async def no_send(_: Any) -> None:
    """Take a message that nobody reads."""


class FakeServer:
    """A server that notes what an application sends, and gives it its messages."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.sent: list[dict[str, Any]] = []
        self.failing = False

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        return self.messages.pop(0)

    async def send(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        if self.failing:
            raise OSError("client is gone")
        self.sent.append(message)

    async def serve(self, app: App, scope: dict[str, Any] | None = None, **settings: Any) -> None:
        served = http_scope(headers=[("X-Request-Id", "r-1")]) if scope is None else scope
        await ContextMiddleware(app, **settings)(served, self.receive, self.send)


@pytest.fixture
def asgi_server() -> FakeServer:
    return FakeServer()


@pytest.mark.asyncio
async def test_a_stream_is_made_inside_the_context_and_its_line_comes_when_it_ends(
    asgi_server: FakeServer, lines: Lines
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        for n in range(3):
            assert current()["request_id"] == "r-1"
            assert not lines.records
            bind(chunks=n)
            await send(MORE)
        await send(LAST)
        assert len(lines.records) == 1

    await asgi_server.serve(app)
    assert lines.texts == ["request completed: GET /orders 200"]
    assert lines.contexts[0]["chunks"] == 2
    assert len(asgi_server.sent) == 5


@pytest.mark.asyncio
async def test_what_goes_on_after_the_response_has_the_context_and_no_part_in_the_line(
    asgi_server: FakeServer, lines: Lines
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send(LAST)
        await asyncio.sleep(0)
        assert current()["request_id"] == "r-1"
        raise LookupError("in the background")

    with pytest.raises(LookupError):
        await asgi_server.serve(app)
    assert lines.texts == ["request completed: GET /orders 200"]
    assert current() == {}


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [500, 503])
async def test_an_exception_that_was_answered_before_it_goes_on_is_named(
    asgi_server: FakeServer, lines: Lines, status: int
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status})
        await send(LAST)
        raise LookupError

    with pytest.raises(LookupError):
        await asgi_server.serve(app)
    assert lines.texts == [f"request completed: GET /orders {status} (LookupError)"]
    assert asgi_server.sent[0]["headers"] == [(b"x-request-id", b"r-1")]


@pytest.mark.asyncio
async def test_an_exception_in_the_middle_of_a_response_has_the_status_that_was_sent(
    asgi_server: FakeServer, lines: Lines
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send(MORE)
        raise LookupError

    with pytest.raises(LookupError):
        await asgi_server.serve(app)
    assert lines.texts == ["request completed: GET /orders 200 (LookupError)"]


@pytest.mark.asyncio
async def test_a_5xx_without_exception_has_a_line_too(
    asgi_server: FakeServer, lines: Lines
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(FAILED)
        await send(LAST)

    await asgi_server.serve(app)
    assert lines.texts == ["request completed: GET /orders 500"]


@pytest.mark.asyncio
async def test_no_response_at_all_is_noted(asgi_server: FakeServer, lines: Lines) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        pass

    await asgi_server.serve(app)
    assert lines.texts == ["request completed: GET /orders 500 (no complete response)"]


@pytest.mark.asyncio
async def test_a_file_that_the_server_sends_completes_the_response(
    asgi_server: FakeServer, lines: Lines
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.pathsend", "path": "/srv/x"})
        assert len(lines.records) == 1

    await asgi_server.serve(app)


@pytest.mark.asyncio
async def test_trailers_and_hints_do_not_complete_the_response(
    asgi_server: FakeServer, lines: Lines
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.early_hint", "links": []})
        await send(START)
        assert not lines.records
        await send(LAST)

    await asgi_server.serve(app)
    assert lines.texts == ["request completed: GET /orders 200"]


class TestDisconnect:
    @pytest.mark.asyncio
    async def test_a_disconnect_before_any_response_is_a_499(self, lines: Lines) -> None:
        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            assert (await receive())["type"] == "http.request"
            assert await receive() == GONE
            assert current()["request_id"] == "r-1"

        await FakeServer({"type": "http.request", "more_body": True}, GONE).serve(app)
        assert lines.texts == ["request completed: GET /orders 499 (client disconnected)"]

    @pytest.mark.asyncio
    async def test_a_disconnect_that_the_application_raises_about_is_a_499(
        self, lines: Lines
    ) -> None:
        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            await receive()
            raise ConnectionError

        with pytest.raises(ConnectionError):
            await FakeServer(GONE).serve(app)
        assert lines.texts == ["request completed: GET /orders 499 (client disconnected)"]

    @pytest.mark.asyncio
    async def test_a_disconnect_in_the_middle_of_a_response_has_the_status_that_was_sent(
        self, lines: Lines
    ) -> None:
        async def app(_scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            await send(MORE)
            await receive()

        await FakeServer(GONE).serve(app)
        assert lines.texts == ["request completed: GET /orders 200 (client disconnected)"]

    @pytest.mark.asyncio
    async def test_a_disconnect_that_the_application_does_not_mind_is_noted(
        self, lines: Lines
    ) -> None:
        async def app(_scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send(START)
            await send(LAST)

        await FakeServer(GONE).serve(app)
        assert lines.texts == ["request completed: GET /orders 200 (client disconnected)"]

    @pytest.mark.asyncio
    async def test_a_disconnect_that_only_sending_tells_is_noted(
        self, asgi_server: FakeServer, lines: Lines
    ) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(START)
            asgi_server.failing = True
            await send(LAST)

        with pytest.raises(OSError, match="client is gone"):
            await asgi_server.serve(app)
        assert lines.texts == ["request completed: GET /orders 200 (client disconnected)"]

    @pytest.mark.asyncio
    async def test_a_disconnect_after_the_response_is_none(self, lines: Lines) -> None:
        async def app(_scope: Any, receive: Any, send: Any) -> None:
            await send(FAILED)
            await send(LAST)
            await receive()

        await FakeServer(GONE).serve(app)
        assert lines.texts == ["request completed: GET /orders 500"]


@pytest.mark.asyncio
async def test_cancellation_reaches_the_application_inside_its_context(
    asgi_server: FakeServer, lines: Lines
) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        bind(user="ada")
        waiting.set()
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(current()["user"])

    seen: list[object] = []
    waiting = asyncio.Event()

    async def before_and_after() -> None:
        with scope(request_id="before"):
            try:
                await asgi_server.serve(app)
            finally:
                seen.append(dict(current()))

    task = asyncio.create_task(before_and_after())
    await asyncio.wait_for(waiting.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["ada", {"request_id": "before"}]
    expected = "request completed: GET /orders 499 (asyncio.exceptions.CancelledError)"
    assert lines.texts == [expected]


@pytest.mark.asyncio
async def test_a_timeout_around_the_middleware_works_as_ever(asgi_server: FakeServer) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asgi_server.serve(app)
    assert current() == {}


@pytest.mark.asyncio
async def test_tasks_of_the_application_share_what_bind_adds(
    asgi_server: FakeServer, lines: Lines
) -> None:
    async def authenticate() -> None:
        bind(user="ada")

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await asyncio.create_task(authenticate())
        assert current()["user"] == "ada"
        await send(START)
        await asyncio.create_task(send(LAST))

    await asgi_server.serve(app)
    assert lines.contexts[0]["user"] == "ada"


@pytest.mark.asyncio
async def test_lifespan_passes_untouched() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert current() == {"service": "shop"}
        assert list(scope) == ["type"]
        seen.append((receive, send))

    server = FakeServer()
    seen: list[object] = []
    with scope(service="shop"):
        await server.serve(app, {"type": "lifespan"})
    assert seen == [(server.receive, server.send)]


@pytest.mark.asyncio
async def test_the_scope_is_as_it_was_after_and_what_the_application_left_in_it_stays(
    asgi_server: FakeServer,
) -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["route"] = "/orders"  # as routers do, for middlewares further out
        await send(START)
        await send(LAST)

    given = http_scope()
    await asgi_server.serve(app, given)
    assert given == http_scope() | {"route": "/orders"}


@pytest.mark.asyncio
async def test_a_header_that_comes_ten_thousand_times_is_not_read_beyond_its_limit(
    asgi_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        assert "tags" not in current()

    await asgi_server.serve(
        app, http_scope(headers=[("X-Tag", "a")] * 10_000), headers={"tags": "X-Tag"}
    )
    assert "4097 characters, at most 512 are taken" in caplog.text


class TestServer:
    """Its `receive` and `send` are awaited in context variables of its own."""

    @pytest.mark.asyncio
    async def test_the_server_sees_its_own_context_variables_and_the_lent_context(self) -> None:
        async def receive() -> dict[str, Any]:
            seen.append((other.get(), current()["request_id"]))
            await asyncio.sleep(0)
            seen.append((other.get(), current()["request_id"]))
            other.set("of the server")
            return {"type": "http.request"}

        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            other.set("of the application")
            with scope(request_id="changed"):
                await receive()
            assert other.get() == "of the application"

        seen: list[object] = []
        given = http_scope(headers=[("X-Request-Id", "r-1")])
        other.set("outside")
        await ContextMiddleware(app)(given, receive, no_send)
        assert seen == [("outside", "changed")] * 2
        assert other.get() == "outside"

    @pytest.mark.asyncio
    @pytest.mark.parametrize("around", [{}, {"service": "shop"}])
    async def test_the_server_leaves_nothing_to_what_it_starts_meanwhile(
        self, around: dict[str, str]
    ) -> None:
        async def receive() -> dict[str, Any]:
            asyncio.get_running_loop().call_later(0, reader_is_called)
            tasks.append(asyncio.create_task(next_request()))
            await asyncio.sleep(0)
            assert current()["request_id"] == "r-1"
            return {"type": "http.request"}

        def reader_is_called() -> None:
            seen.append((dict(current()), other.get()))

        async def next_request() -> None:
            await ended.wait()
            seen.append((dict(current()), other.get()))
            if not around:
                with pytest.raises(InactiveError):
                    bind(user="ada")
            with scope(request_id="r-2"):
                assert current() == {**around, "request_id": "r-2"}

        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            other.set("of the application")
            await receive()
            await asyncio.sleep(0.01)
            ended.set()
            await tasks[0]
            assert current()["request_id"] == "r-1"

        tasks: list[asyncio.Task[None]] = []
        seen: list[object] = []
        ended = asyncio.Event()
        given = http_scope(headers=[("X-Request-Id", "r-1")])
        with scope(around) if around else nullcontext():
            await ContextMiddleware(app)(given, receive, no_send)
        assert seen == [(around, "outside")] * 2

    @pytest.mark.asyncio
    async def test_the_server_leaves_nothing_of_linked_context_variables(self) -> None:
        async def receive() -> dict[str, Any]:
            variables.append(copy_context())
            seen.append((linked.get(), current().get("user")))
            return {"type": "http.request"}

        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            bind(user="ada")
            assert linked.get() == "ada"
            await receive()
            linked.set("grace")
            await receive()

        linked: ContextVar[str | None] = ContextVar("linked", default=None)
        Variable("user", str, contextvar=linked)
        variables: list[Context] = []
        seen: list[object] = []
        await ContextMiddleware(app)(http_scope(), receive, no_send)
        assert seen == [(None, "ada"), (None, "grace")]
        assert variables[0].run(linked.get) is None
        assert variables[0].run(current) == {}

    @pytest.mark.asyncio
    async def test_the_server_binds_what_is_there_until_its_call_ends(self) -> None:
        async def receive() -> dict[str, Any]:
            variables.append(copy_context())
            bind(connection=7)
            await asyncio.sleep(0)
            seen.append(dict(current()))
            return {"type": "http.request"}

        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            await receive()
            seen.append(dict(current()))
            bind(user="ada")

        variables: list[Context] = []
        seen: list[dict[str, object]] = []
        given = http_scope(headers=[("X-Request-Id", "r-1")])
        with scope(service="shop"):
            bind(region="eu")
            await ContextMiddleware(app, trace=False)(given, receive, no_send)
            during, after = seen
            assert during == {**after, "connection": 7}
            bind(region="us")
            assert variables[0].run(current) == {"service": "shop", "region": "us"}

    @pytest.mark.asyncio
    async def test_the_server_may_be_awaited_by_several_tasks_at_once(self) -> None:
        async def receive() -> dict[str, Any]:
            await sent.wait()
            assert current()["request_id"] == "r-1"
            return GONE

        async def send(_: Any) -> None:
            await asyncio.sleep(0)
            assert current()["request_id"] == "r-1"
            sent.set()

        async def app(_scope: Any, receive: Any, send: Any) -> None:
            waiting = asyncio.create_task(receive())
            await asyncio.sleep(0)
            await send(START)
            await send(LAST)
            assert await waiting == GONE

        sent = asyncio.Event()
        given = http_scope(headers=[("X-Request-Id", "r-1")])
        await ContextMiddleware(app)(given, receive, send)

    @pytest.mark.asyncio
    async def test_the_server_may_give_something_else_to_await(self) -> None:
        def receive() -> asyncio.Future[dict[str, Any]]:
            future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            future.set_result({"type": "http.request"})
            return future

        def send(message: dict[str, Any]) -> asyncio.Future[None]:
            sent.append(message["type"])
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, None)
            return future

        async def app(_scope: Any, receive: Any, send: Any) -> None:
            assert (await receive())["type"] == "http.request"
            await send(START)

        sent: list[str] = []
        await ContextMiddleware(app)(http_scope(), receive, send)
        assert sent == ["http.response.start"]


class TestWebSocket:
    async def serve(self, app: App, *messages: dict[str, Any]) -> FakeServer:
        server = FakeServer(CONNECT, *messages)
        opened = http_scope("/live", [("X-Request-Id", "r-1")]) | {"type": "websocket"}
        del opened["method"]
        await server.serve(app, opened)
        return server

    @pytest.mark.asyncio
    async def test_a_websocket_has_one_context_and_shows_its_id(self, lines: Lines) -> None:
        async def app(_scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send(ACCEPT)
            assert current()["request_id"] == "r-1"
            bind(user="ada")
            assert (await receive())["text"] == "hello"
            assert current()["user"] == "ada"
            await send({"type": "websocket.close", "code": 4000})

        server = await self.serve(app, {"type": "websocket.receive", "text": "hello"})
        assert server.sent[0]["headers"] == [(b"a", b"b"), (b"x-request-id", b"r-1")]
        assert ACCEPT["headers"] == [(b"a", b"b")]
        assert lines.texts == ["websocket closed: GET /live 4000"]
        assert lines.contexts[0]["user"] == "ada"
        assert lines.fields[0]["websocket.code"] == 4000
        assert "http.request.duration_ms" in lines.fields[0]

    @pytest.mark.asyncio
    async def test_a_websocket_closed_by_the_client_has_the_clients_code(
        self, lines: Lines
    ) -> None:
        async def app(_scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send(ACCEPT)
            await receive()
            await send({"type": "websocket.close"})

        await self.serve(app, {"type": "websocket.disconnect", "code": 1001})
        assert lines.texts == ["websocket closed: GET /live 1001"]

    @pytest.mark.asyncio
    async def test_a_websocket_that_ends_with_an_exception_names_it(self, lines: Lines) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(ACCEPT)
            raise LookupError

        with pytest.raises(LookupError):
            await self.serve(app)
        assert lines.texts == ["websocket closed: GET /live 1011 (LookupError)"]

    @pytest.mark.asyncio
    async def test_a_websocket_that_the_application_leaves_open_is_closed_by_the_server(
        self, lines: Lines
    ) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(ACCEPT)

        await self.serve(app)
        assert lines.texts == ["websocket closed: GET /live 1000"]

    @pytest.mark.asyncio
    async def test_a_websocket_that_is_refused_is_a_403(self, lines: Lines) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "websocket.close"})

        await self.serve(app)
        assert lines.texts == ["request completed: GET /live 403"]

    @pytest.mark.asyncio
    async def test_a_websocket_that_is_refused_with_a_response_has_its_status(
        self, lines: Lines
    ) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b""})

        server = await self.serve(app)
        assert server.sent[0]["headers"] == [(b"x-request-id", b"r-1")]
        assert lines.texts == ["request completed: GET /live 401"]

    @pytest.mark.asyncio
    async def test_a_websocket_whose_client_leaves_before_it_is_open_is_a_499(
        self, lines: Lines
    ) -> None:
        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            await receive()
            await receive()

        await self.serve(app, {"type": "websocket.disconnect"})
        assert lines.texts == ["request completed: GET /live 499"]

    @pytest.mark.asyncio
    async def test_a_websocket_whose_handshake_fails_is_a_500(self, lines: Lines) -> None:
        async def app(_scope: Any, _receive: Any, _send: Any) -> None:
            raise LookupError

        with pytest.raises(LookupError):
            await self.serve(app)
        assert lines.texts == ["request completed: GET /live 500 (LookupError)"]
