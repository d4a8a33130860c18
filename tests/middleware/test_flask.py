"""Flask: views, hooks, streams, its test client."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request, send_file, stream_with_context
from flask.testing import FlaskClient

from mqctx import bind, current
from mqctx.middleware.wsgi import ContextMiddleware
from tests.middleware.conftest import Lines
from tests.middleware.protocols import active

ONE = {"X-Request-Id": "r-1"}


@pytest.fixture
def flask_app() -> Flask:
    app = Flask("shop")
    app.wsgi_app = ContextMiddleware(app.wsgi_app)  # type: ignore[method-assign]  # Flask's own way

    @app.before_request
    def authenticate() -> None:
        bind(user="ada")

    @app.get("/sync")
    def sync_view() -> dict[str, object]:
        return active("request_id", "user")

    @app.get("/async")
    async def async_view() -> dict[str, object]:
        bind(user="eve")
        return active("request_id", "user")

    @app.get("/fail")
    def fail() -> str:
        raise LookupError

    @app.get("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            for n in range(3):
                yield f"{current()['user']} {request.path} "
                bind(user=f"ada{n}")

        return Response(stream_with_context(parts()))

    @app.get("/file")
    def file() -> Response:
        return send_file(__file__)

    return app


@pytest.fixture
def flask_client(flask_app: Flask) -> FlaskClient:
    return flask_app.test_client()


def test_what_a_hook_binds_is_seen_by_a_view_and_by_the_log(
    flask_client: FlaskClient, lines: Lines
) -> None:
    response = flask_client.get("/sync", headers=ONE)
    assert response.json == {"request_id": "r-1", "user": "ada"}
    assert response.headers["X-Request-Id"] == "r-1"
    assert lines.texts == ["request completed: GET /sync 200"]
    assert lines.contexts[0]["user"] == "ada"


def test_what_an_async_view_binds_is_seen_by_the_log(
    flask_client: FlaskClient, lines: Lines
) -> None:
    assert flask_client.get("/async", headers=ONE).json == {"request_id": "r-1", "user": "eve"}
    assert lines.contexts[0]["user"] == "eve"


def test_a_stream_with_context_has_both_contexts(flask_client: FlaskClient, lines: Lines) -> None:
    response = flask_client.get("/stream", headers=ONE)
    assert response.text == "ada /stream ada0 /stream ada1 /stream "
    response.close()
    assert lines.texts == ["request completed: GET /stream 200"]
    assert lines.contexts[0]["user"] == "ada2"


def test_an_error_page_shows_the_id(flask_client: FlaskClient, lines: Lines) -> None:
    response = flask_client.get("/fail", headers=ONE)
    assert (response.status_code, response.headers["X-Request-Id"]) == (500, "r-1")
    assert response.text
    assert lines.texts == ["request completed: GET /fail 500"]


def test_an_exception_that_is_not_answered_goes_on(
    flask_app: Flask, flask_client: FlaskClient, lines: Lines
) -> None:
    flask_app.testing = True
    with pytest.raises(LookupError):
        flask_client.get("/fail", headers=ONE)
    assert lines.texts == ["request completed: GET /fail 500 (LookupError)"]
    assert current() == {}


def test_a_file_is_sent(flask_client: FlaskClient) -> None:
    response = flask_client.get("/file", headers=ONE)
    assert response.data == Path(__file__).read_bytes()
    response.close()


def test_the_test_client_may_keep_flasks_own_context(flask_client: FlaskClient) -> None:
    with flask_client:
        flask_client.get("/sync?color=red")
        assert request.args["color"] == "red"
    assert current() == {}


def test_the_next_request_of_the_same_thread_starts_anew(
    flask_app: Flask, flask_client: FlaskClient
) -> None:
    seen: list[Any] = []
    flask_app.before_request_funcs[None].insert(
        0, lambda: seen.append(active("request_id", "user"))
    )
    flask_client.get("/sync", headers=ONE)
    flask_client.get("/sync", headers={"X-Request-Id": "r-2"})
    assert seen == [{"request_id": "r-1", "user": None}, {"request_id": "r-2", "user": None}]
