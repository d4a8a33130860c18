"""One request through each middleware, by the bare protocol."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias
from wsgiref.util import setup_testing_defaults

import httpx

from mqctx import current
from mqctx.middleware import asgi, wsgi


@dataclass
class Answer:
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def __getitem__(self, name: str) -> str:
        (value,) = [value for key, value in self.headers if key.lower() == name.lower()]
        return value


Headers: TypeAlias = list[tuple[str, str]]


class Ask(Protocol):
    """Send a request to an application that calls `inside` and answers 200.

    It calls `with_headers` with the request's headers as they are in there.
    """

    def __call__(
        self,
        inside: Callable[[], object],
        brought: Sequence[tuple[str, str]] = (),
        /,
        *,
        path: str = "/orders",
        layers: int = 1,
        times: int = 1,
        client: str | None = "192.0.2.1",
        method: str = "GET",
        answered: Sequence[tuple[str, str]] = (),
        with_headers: Callable[[Headers], object] = list,
        **settings: Any,
    ) -> Answer: ...


def http_scope(path: str = "/orders", headers: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": path,
        "query_string": b"color=red",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("192.0.2.1", 4711),
    }


def ask_asgi(
    inside: Callable[[], object],
    brought: Sequence[tuple[str, str]] = (),
    /,
    *,
    path: str = "/orders",
    layers: int = 1,
    times: int = 1,
    client: str | None = "192.0.2.1",
    method: str = "GET",
    answered: Sequence[tuple[str, str]] = (),
    with_headers: Callable[[Headers], object] = list,
    **settings: Any,
) -> Answer:
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(name.encode(), value.encode()) for name, value in answered],
    }

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        with_headers([(n.decode(), v.decode("latin-1")) for n, v in scope["headers"]])
        inside()
        await send(start)
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
        else:
            answer.body += message["body"]

    answer = Answer()
    wrapped: Any = app
    for _ in range(layers):
        wrapped = asgi.ContextMiddleware(wrapped, **settings)
    scope = http_scope(path, brought) | {"client": client and (client, 4711), "method": method}
    before = dict(scope)
    for _ in range(times):
        asyncio.run(wrapped(scope, receive, send))
    assert scope == before
    assert len(start["headers"]) == len(answered), "the application's own message was changed"
    return answer


def ask_wsgi(
    inside: Callable[[], object],
    brought: Sequence[tuple[str, str]] = (),
    /,
    *,
    path: str = "/orders",
    layers: int = 1,
    times: int = 1,
    client: str | None = "192.0.2.1",
    method: str = "GET",
    answered: Sequence[tuple[str, str]] = (),
    with_headers: Callable[[Headers], object] = list,
    **settings: Any,
) -> Answer:
    own_headers = list(answered)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        named = ((key.removeprefix("HTTP_"), value) for key, value in environ.items())
        with_headers([(key.lower().replace("_", "-"), value) for key, value in named])
        inside()
        start_response("200 OK", own_headers)
        return [b"ok"]

    wrapped: Any = app
    for _ in range(layers):
        wrapped = wsgi.ContextMiddleware(wrapped, **settings)
    environ = wsgi_environ(path, brought) | {"REMOTE_ADDR": client or "", "REQUEST_METHOD": method}
    before = dict(environ)
    answers = [call_wsgi(wrapped, environ) for _ in range(times)]
    assert environ == before
    assert own_headers == list(answered), "the application's own headers were changed"
    return answers[-1]


def wsgi_environ(path: str = "/orders", headers: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    environ: dict[str, Any] = {"PATH_INFO": path.encode().decode("latin-1")}
    environ |= {"SCRIPT_NAME": "", "REMOTE_ADDR": "192.0.2.1", "QUERY_STRING": "color=red"}
    setup_testing_defaults(environ)
    for name, value in headers:
        key = name.upper().replace("-", "_")
        key = key if key.startswith("CONTENT_") else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


async def get(
    app: Any, path: str, headers: Mapping[str, str] | None = None, *, raising: bool = True
) -> httpx.Response:
    """Send a GET to an ASGI application; raise its exceptions, or show what a client gets."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=raising)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        return await client.get(path, headers=headers)


def active(*names: str) -> dict[str, object]:
    """Return these values of the active context, None for those that it does not have."""
    return {name: current().get(name) for name in names}


def call_wsgi(app: Any, environ: dict[str, Any]) -> Answer:
    """Call an application as a server does: PEP 3333, "The Server/Gateway Side"."""
    answer = Answer()

    def write(data: bytes) -> None:
        answer.body += data

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        answer.status, answer.headers = int(status[:3]), headers
        return write

    body = app(environ, start_response)
    try:
        for chunk in body:
            write(chunk)
    finally:
        if hasattr(body, "close"):
            body.close()
    return answer
