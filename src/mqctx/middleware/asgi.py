"""For ASGI applications: Starlette, FastAPI, Litestar, Django, or none of them."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeAlias, Unpack

from mqctx._core.isolation import in_steps
from mqctx._core.lending import Surroundings
from mqctx._core.settings import check_callable
from mqctx.middleware._asgi_server import SERVERS, AsgiServer
from mqctx.middleware._request import (
    UNDER_WAY,
    Request,
    RequestContextBuilder,
    join,
    under_way,
)
from mqctx.middleware._settings import Settings

__all__ = ["ContextMiddleware"]

# Starlette, Litestar and asgiref type scopes and messages in three ways that exclude each other.
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]


class ContextMiddleware:
    """Run each request and websocket inside a context of its own.

    The context has `request_id`, the trace, the chosen headers and values, and what stays in the
    process: `http.request.method`, `url.path`, `client.address`, `http.request.start_time`. It is
    active for all that the application does until it returns, background tasks included; `bind`
    adds to it. Afterwards the context outside is active again. No context variable that is set
    inside gets out, not even to tasks that the server starts meanwhile.

    The response shows the request id. Once it is complete, one line is logged. Other scopes
    (lifespan) pass untouched, and so does a request that another instance already serves.

    Args:
        app: The application.
        settings: The keyword arguments that `mqctx.middleware.Settings` lists.

    Raises:
        ConfigurationError: a setting makes no sense; the message says what to write instead.
    """

    def __init__(self, app: App, **settings: Unpack[Settings]) -> None:
        self._builder = RequestContextBuilder(**settings)
        check_callable("app", app, "the ASGI application")
        self.app = app
        self._id_key = self._builder.id_key.encode()
        self._wanted = {header.encode(): header for header in self._builder.wanted}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, websocket, or lifespan."""
        server_of = SERVERS.get(scope["type"])
        if server_of is None or UNDER_WAY in scope or _is_handed_on(scope):
            await self.app(scope, receive, send)
            return
        found = _headers(scope, self._wanted)
        request = self._builder.build(found, *_target(scope), _client_address(scope))
        id_header = None if request.id is None else (self._id_key, request.id.encode())
        server = server_of(request, id_header, receive, send, Surroundings())
        # A run, not a scope: some servers call the application in a task that others use too.
        await in_steps(request.context.snapshot(), self._serve(scope, request, server))

    async def _serve(self, scope: Any, request: Request, server: AsgiServer) -> None:
        under_way.set(request)
        scope[UNDER_WAY] = True
        brought = scope["headers"]
        if request.is_new_id and server.id_header:
            scope["headers"] = _with_new_id(brought, server.id_header)
        try:
            await self.app(scope, server.receive, server.send)
        except BaseException as error:
            server.end(error)
            raise
        else:
            server.end(None)
        finally:
            # A caller may use the same scope again.
            scope.pop(UNDER_WAY, None)
            scope["headers"] = brought


def _target(scope: Any) -> tuple[str, bytes]:
    """Return method and path. The request that opens a websocket is a GET (RFC 6455 4.1)."""
    return scope.get("method", "GET"), scope["path"].encode(errors="replace")


def _client_address(scope: Any) -> str | None:
    client = scope.get("client")  # none on a Unix socket
    return client[0] if client else None


def _is_handed_on(scope: Any) -> bool:
    outer = under_way.get()
    return outer is not None and outer.is_handed_on(*_target(scope), partial(_header, scope))


def _with_new_id(headers: Iterable[Header], id_header: Header) -> list[Header]:
    """Return headers with this id in place of the client's, which was not taken."""
    return [*(header for header in headers if header[0] != id_header[0]), id_header]


def _headers(scope: Any, wanted: dict[bytes, str]) -> dict[str, str]:
    """Return the headers that are wanted, and are there."""
    found: dict[str, str] = {}
    for key, raw in scope["headers"]:
        if key in wanted:
            name, text = wanted[key], raw.decode(errors="surrogateescape")
            found[name] = join(found[name], text) if name in found else text
    return found


def _header(scope: Any, name: str) -> str | None:
    return _headers(scope, {name.encode(): name}).get(name)
