"""For ASGI applications: Starlette, FastAPI, Litestar, Django, or none of them."""

from collections.abc import Awaitable, Callable, Iterable
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeAlias, Unpack

from mqctx._core.isolation import first_step, rest
from mqctx._core.lending import Surroundings
from mqctx._core.settings import check_callable
from mqctx._core.store import Store, active_store, enter
from mqctx.middleware._asgi_server import SERVERS
from mqctx.middleware._request import (
    UNDER_WAY,
    Request,
    RequestContextBuilder,
    join,
)
from mqctx.middleware._settings import Settings

__all__ = ["ContextMiddleware"]

# Starlette, Litestar and asgiref type scopes and messages in three ways that exclude each other.
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

_GET: Final = "GET"
"""The method of a request that opens a websocket (RFC 6455 4.1)."""


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
        store = active_store()
        outer = store.headers
        if server_of is None or UNDER_WAY in scope or (outer and _is_handed_on(outer, scope)):
            await self.app(scope, receive, send)
            return
        brought = scope["headers"]
        request = self._builder.build(
            _found(brought, self._wanted),
            scope.get("method", _GET),
            _path(scope),
            scope.get("client"),
        )
        id_header = (self._id_key, request.id.encode())
        outside = Surroundings(store.live, copy_context())
        server = server_of(request.line, id_header, receive, send, outside)
        scope[UNDER_WAY] = True
        if request.is_new_id:
            # In place of the client's, which was not taken.
            scope["headers"] = _replaced(brought, id_header)
        # A run, not a scope: some servers call the application in a task that others use too.
        snapshot = copy_context()
        inside = Store(request.context, request, request.context)
        try:
            begun = snapshot.run(
                first_step, enter, inside, self.app, scope, server.receive, server.send
            )
            if begun is not None:
                await rest(snapshot, begun)
        except BaseException as error:
            snapshot.run(server.end, error)
            raise
        else:
            if not request.line.settled:
                snapshot.run(server.end, None)
        finally:
            # A caller may use the same scope again.
            scope.pop(UNDER_WAY, None)
            scope["headers"] = brought


def _path(scope: Any) -> str:
    path: str = scope["path"]
    # Without what no octets stand for.
    return path if path.isascii() else path.encode(errors="replace").decode()


def _is_handed_on(outer: Any, scope: Any) -> bool:
    """Tell whether what is handled outside is a request, and this is the same one."""
    if not isinstance(outer, Request):
        return False
    header = partial(_header, scope["headers"])
    return outer.is_handed_on(scope.get("method", _GET), _path(scope), header)


def _found(headers: Iterable[Header], wanted: dict[bytes, str]) -> dict[str, str]:
    """Return the headers that are wanted, and are there."""
    found: dict[str, str] = {}
    for key, raw in headers:
        if key in wanted:
            name, text = wanted[key], raw.decode("utf-8", "surrogateescape")
            found[name] = join(found[name], text) if name in found else text
    return found


def _header(headers: Iterable[Header], name: str) -> str:
    return _found(headers, {name.encode(): name}).get(name, "")


def _replaced(headers: Iterable[Header], header: Header) -> list[Header]:
    """Return the headers with this one in place of all of its name."""
    return [*(each for each in headers if each[0] != header[0]), header]
