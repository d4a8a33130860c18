"""For ASGI applications: Starlette, FastAPI, Litestar, Django, or none of them."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, Unpack

from mqctx.middleware._asgi_events import EVENTS, AsgiEvents
from mqctx.middleware._request import UNDER_WAY, RequestContextBuilder, Settings

__all__ = ["ContextMiddleware"]

# Starlette, Litestar and asgiref type scopes and messages in three ways that exclude each other.
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]


class ContextMiddleware:
    """Run each request and websocket inside a context of its own.

    The context has `request_id`, the trace, the chosen headers, and what stays in the process:
    `http.request.method`, `url.path`, `client.address`, `http.request.start_time`. It is active
    for all that the application does until it returns, background tasks included; `bind` adds to
    it. What was active outside is active again after, and no context variable that is set inside
    gets out.

    The response shows the request id. Once it is complete, one line is logged. Other scopes
    (lifespan) pass untouched, and so does a request that another instance already serves.

    Takes the arguments of `RequestContextBuilder` besides the application.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    def __init__(self, app: App, **settings: Unpack[Settings]) -> None:
        self.app = app
        self._builder = RequestContextBuilder(**settings)
        self._wanted = {header.encode(): header for header in self._builder.wanted}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, websocket, or lifespan."""
        events = EVENTS.get(scope["type"])
        if events is None or UNDER_WAY in scope:
            await self.app(scope, receive, send)
            return
        client = scope.get("client") or (None,)
        request = self._builder.build(
            self._found(scope),
            # The request that opens a websocket is a GET (RFC 6455 4.1).
            scope.get("method", "GET"),
            scope["path"].encode(errors="replace"),
            client[0],
        )
        id_header = (self._builder.id_header.lower().encode(), request.id.encode())
        # A run, not a scope: some servers call the application in a task that others use too.
        await request.context.run(self._serve, scope, events(request, id_header, receive, send))

    def _found(self, scope: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        wanted = self._wanted
        for key, raw in scope["headers"]:
            if key in wanted:
                name, text = wanted[key], raw.decode(errors="surrogateescape")
                found[name] = f"{found[name]},{text}" if name in found else text
        return found

    async def _serve(self, scope: Any, events: AsgiEvents) -> None:
        scope[UNDER_WAY] = True
        try:
            await self.app(scope, events.receive, events.send)
        except BaseException as error:
            events.end(error)
            raise
        else:
            events.end(None)
        finally:
            # Not kept for who calls an application again with the same scope.
            scope.pop(UNDER_WAY, None)
