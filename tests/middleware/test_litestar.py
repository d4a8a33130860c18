"""Litestar: as a middleware of the application, and around it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.di import NamedDependency, Provide
from litestar.middleware import DefineMiddleware
from litestar.response import Stream

from mqctx import bind, current
from mqctx.middleware.asgi import ContextMiddleware
from tests.middleware import protocols
from tests.middleware.conftest import Lines
from tests.middleware.protocols import active


async def user_async() -> str:
    bind(user="ada")
    return "ada"


def user_sync() -> str:
    bind(user="ada")
    return "ada"


@get("/async", dependencies={"user": Provide(user_async)})
async def async_endpoint(user: NamedDependency[str]) -> dict[str, object]:
    return active("request_id", "tenant", "user")


@get("/sync", dependencies={"user": Provide(user_sync, sync_to_thread=True)}, sync_to_thread=True)
def sync_endpoint(user: NamedDependency[str]) -> dict[str, object]:
    return active("request_id", "tenant", "user")


@get("/stream")
async def stream() -> Stream:
    async def parts() -> AsyncIterator[str]:
        for n in range(3):
            bind(user=f"ada{n}")
            yield str(current()["user"])

    return Stream(parts())


@get("/fail")
async def fail() -> None:
    bind(user="ada")
    raise LookupError


ROUTES = [async_endpoint, sync_endpoint, stream, fail]
TAKEN = {"tenant": "X-Tenant-Id"}
BROUGHT = {"X-Request-Id": "r-1", "X-Tenant-Id": "acme"}


def as_middleware() -> Any:
    added = DefineMiddleware(ContextMiddleware, headers=TAKEN)
    return Litestar(ROUTES, middleware=[added], logging_config=None)


def around() -> Any:
    return ContextMiddleware(Litestar(ROUTES, logging_config=None), headers=TAKEN)


@pytest.mark.asyncio
@pytest.mark.parametrize("make", [as_middleware, around])
@pytest.mark.parametrize("path", ["/async", "/sync"])
async def test_what_a_dependency_binds_is_seen_by_the_endpoint_and_by_the_log(
    lines: Lines, make: Any, path: str
) -> None:
    response = await protocols.get(make(), path, BROUGHT)
    assert response.json() == {"request_id": "r-1", "tenant": "acme", "user": "ada"}
    assert response.headers["x-request-id"] == "r-1"
    assert lines.texts == [f"request completed: GET {path} 200"]
    assert lines.contexts[0]["user"] == "ada"


@pytest.mark.asyncio
@pytest.mark.parametrize("make", [as_middleware, around])
async def test_a_stream_is_made_inside_the_context(lines: Lines, make: Any) -> None:
    assert (await protocols.get(make(), "/stream", BROUGHT)).text == "ada0ada1ada2"
    assert lines.contexts[0]["user"] == "ada2"


@pytest.mark.asyncio
@pytest.mark.parametrize("make", [as_middleware, around])
async def test_an_error_page_shows_the_id(lines: Lines, make: Any) -> None:
    response = await protocols.get(make(), "/fail", BROUGHT)
    assert (response.status_code, response.headers["x-request-id"]) == (500, "r-1")
    assert lines.texts == ["request completed: GET /fail 500"]
    assert lines.contexts[0]["user"] == "ada"


@pytest.mark.asyncio
async def test_only_around_the_application_it_serves_paths_that_are_no_routes(
    lines: Lines,
) -> None:
    assert "x-request-id" not in (await protocols.get(as_middleware(), "/nowhere", BROUGHT)).headers
    assert (await protocols.get(around(), "/nowhere", BROUGHT)).headers["x-request-id"] == "r-1"
    assert lines.texts == ["request completed: GET /nowhere 404"]


@pytest.mark.asyncio
async def test_as_a_bare_class_it_takes_the_defaults() -> None:
    app = Litestar(ROUTES, middleware=[ContextMiddleware], logging_config=None)
    assert (await protocols.get(app, "/async", BROUGHT)).json()["request_id"] == "r-1"
