"""The WSGI middleware by the bare protocol: bodies, `write`, `close`, the server's own helpers."""

import io
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

from mqctx import bind, current, scope
from mqctx.middleware.wsgi import ContextMiddleware
from tests.middleware.conftest import Lines
from tests.middleware.protocols import call_wsgi, wsgi_environ

ONE = [("X-Request-Id", "r-1")]


def ignore(*_: object) -> Any:
    """Start a response that nobody reads."""


def streaming(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for n in range(3):
        yield str(current()["request_id"]).encode()
        bind(chunks=n)


class Body:
    """A body that says when it was closed."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.closed: list[object] = []
        self._chunks = chunks
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._error:
            raise self._error

    def close(self) -> None:
        self.closed.append(current().get("request_id"))


def answering(body: Any, status: str = "200 OK") -> ContextMiddleware:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, [])
        return body

    return ContextMiddleware(app)


def test_a_generator_runs_inside_the_context_and_its_line_comes_when_it_ends(lines: Lines) -> None:
    with scope(user="before"):
        body = iter(ContextMiddleware(streaming)(wsgi_environ("/", ONE), ignore))
        for _ in range(3):
            assert next(body) == b"r-1"
            assert current() == {"user": "before"}
            assert not lines.records
        assert list(body) == []
    assert lines.texts == ["request completed: GET / 200"]
    assert lines.contexts[0]["chunks"] == 2


def test_two_streams_of_one_thread_do_not_mix() -> None:
    app = ContextMiddleware(streaming)
    one = iter(app(wsgi_environ("/", ONE), ignore))
    two = iter(app(wsgi_environ("/", [("X-Request-Id", "r-2")]), ignore))
    assert [(next(one), next(two)) for _ in range(3)] == [(b"r-1", b"r-2")] * 3


def test_a_stream_may_go_on_in_another_thread() -> None:
    body = iter(ContextMiddleware(streaming)(wsgi_environ("/", ONE), ignore))
    seen = [next(body)]
    thread = threading.Thread(target=lambda: seen.extend(body))
    thread.start()
    thread.join(10)
    assert seen == [b"r-1"] * 3


def test_close_runs_inside_the_context_after_the_last_chunk(lines: Lines) -> None:
    body = Body(b"a", b"b")
    assert call_wsgi(answering(body), wsgi_environ("/", ONE)).body == b"ab"
    assert body.closed == ["r-1"]
    assert lines.texts == ["request completed: GET / 200"]


def test_a_stream_that_is_closed_before_its_end_was_left_by_the_client(lines: Lines) -> None:
    body = Body(b"a", b"b")
    served: Any = answering(body)(wsgi_environ("/", ONE), ignore)
    next(iter(served))
    served.close()
    assert body.closed == ["r-1"]
    assert lines.texts == ["request completed: GET / 200 (client disconnected)"]


def test_a_generator_that_never_began_has_no_status(lines: Lines) -> None:
    served: Any = ContextMiddleware(streaming)(wsgi_environ(), ignore)
    served.close()
    assert lines.texts == ["request completed: GET /orders 499 (client disconnected)"]


@pytest.mark.parametrize(("chunks", "status"), [((), 500), ((b"a",), 200)])
def test_an_exception_while_streaming_is_a_500_until_something_was_sent(
    lines: Lines, chunks: tuple[bytes, ...], status: int
) -> None:
    body = Body(*chunks, error=LookupError())
    with pytest.raises(LookupError):
        call_wsgi(answering(body), wsgi_environ("/", ONE))
    assert body.closed == ["r-1"]
    assert lines.texts == [f"request completed: GET / {status} (LookupError)"]


def test_an_exception_of_close_goes_on_and_leaves_nothing_active(lines: Lines) -> None:
    class Failing(Body):
        def close(self) -> None:
            raise LookupError

    with pytest.raises(LookupError):
        call_wsgi(answering(Failing(b"a")), wsgi_environ())
    assert current() == {}
    assert len(lines.records) == 1


def test_what_is_no_body_fails_in_the_server_as_ever(lines: Lines) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        call_wsgi(answering(None), wsgi_environ())
    assert lines.texts == ["request completed: GET /orders 500 (TypeError)"]


@pytest.mark.parametrize("body", [[b"a"], (b"a", b"b")])
def test_a_list_reaches_the_server_which_counts_it(lines: Lines, body: Any) -> None:
    assert answering(body)(wsgi_environ(), ignore) is body
    assert lines.texts == ["request completed: GET /orders 200"]


def test_a_file_wrapper_reaches_the_server_which_knows_it(lines: Lines) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"content"))

    environ = wsgi_environ() | {"wsgi.file_wrapper": FileWrapper}
    served = ContextMiddleware(app)(environ, ignore)
    assert isinstance(served, FileWrapper)
    assert list(served) == [b"content"]
    assert lines.texts == ["request completed: GET /orders 200"]


def test_a_file_wrapper_that_is_no_class_is_iterated(lines: Lines) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"content"))

    environ = wsgi_environ() | {"wsgi.file_wrapper": lambda file: FileWrapper(file)}
    assert call_wsgi(ContextMiddleware(app), environ).body == b"content"


def test_write_is_the_servers() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"a")
        return [b"b"]

    assert call_wsgi(ContextMiddleware(app), wsgi_environ()).body == b"ab"


def test_a_response_may_start_again_as_an_error(lines: Lines) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        try:
            raise LookupError
        except LookupError as error:
            start_response("404 Not Found", [], (LookupError, error, error.__traceback__))
        return [b""]

    answer = call_wsgi(ContextMiddleware(app), wsgi_environ("/", ONE))
    assert (answer.status, answer.headers) == (404, [("X-Request-Id", "r-1")])
    assert lines.texts == ["request completed: GET / 404"]


def test_a_status_that_is_none_is_for_the_server_to_refuse(lines: Lines) -> None:
    answering([], status="okay")(wsgi_environ(), ignore)
    assert lines.texts == ["request completed: GET /orders 500"]


def test_the_path_is_the_whole_one_where_the_application_is_mounted() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [str(current()["url.path"]).encode()]

    environ = wsgi_environ("/orders") | {"SCRIPT_NAME": "/shop"}
    assert call_wsgi(ContextMiddleware(app), environ).body == b"/shop/orders"


def test_both_sides_of_the_middleware_obey_the_protocol() -> None:
    app = validator(ContextMiddleware(validator(streaming)))
    assert call_wsgi(app, wsgi_environ("/", ONE)).body == b"r-1" * 3


def test_the_environ_is_as_it_was_after() -> None:
    environ = wsgi_environ()
    before = set(environ)
    call_wsgi(ContextMiddleware(streaming), environ)
    assert set(environ) == before
