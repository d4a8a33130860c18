"""A web site on uvicorn, each of whose applications is there with and without a context."""

import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import aio_pika
import uvicorn

import mqctx
from benchmarks.asking import END, Address, Connections
from mqctx.adapters.aio_pika import publish
from mqctx.middleware.asgi import ContextMiddleware

App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

PLAIN, RUN, CONTEXT = "plain", "run", "context"
_KEY = "benchmark-requests"
_QUESTION = b"q" * 64 + END


class Site:
    """Applications by path: `/{PLAIN,RUN,CONTEXT}/{number of awaited calls}[/publish]`."""

    def __init__(self, echoing: Address) -> None:
        self._connections = Connections(echoing)
        self._apps: dict[str, App] = {}
        self._exchange: Any = None
        for calls in (0, 1, 3):
            for path, publishing in (("", None), ("/publish", PLAIN)):
                plain = self._app(calls, publishing)
                self._apps[f"/{PLAIN}/{calls}{path}"] = plain
                same = self._app(calls, publishing and CONTEXT)
                self._apps[f"/{RUN}/{calls}{path}"] = _in_run(same)
                self._apps[f"/{CONTEXT}/{calls}{path}"] = ContextMiddleware(same)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if self._exchange is None:
            await self._connect()
        await self._apps[scope["path"]](scope, receive, send)

    def _app(self, calls: int, publishing: str | None) -> App:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            for _ in range(calls):
                await self._connections.ask(_QUESTION)
            if publishing == PLAIN:
                await self._exchange.publish(aio_pika.Message(b"42"), _KEY)
            elif publishing == CONTEXT:
                await publish(self._exchange, aio_pika.Message(b"42"), _KEY)
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": _BODY})

        return app

    async def _connect(self) -> None:
        self._connection = await aio_pika.connect(os.environ["MQCTX_BROKER_URL"])
        channel = await self._connection.channel(publisher_confirms=False)
        # No more than is published meanwhile need be kept.
        await channel.declare_queue(_KEY, auto_delete=True, arguments={"x-max-length": 1})
        self._exchange = channel.default_exchange


def _in_run(app: App) -> App:
    """Return `app` with each request in a run, and nothing else that the middleware does."""

    async def run(scope: Any, receive: Any, send: Any) -> None:
        await mqctx.run({"request_id": "r-1"}, app, scope, receive, send)

    return run


_BODY = b"OK"
_HEADERS = [(b"content-length", b"2"), (b"content-type", b"text/plain")]


def serve(listening: socket.socket, echoing: Address) -> None:
    """Serve until the process is told to end."""
    config = uvicorn.Config(Site(echoing), lifespan="off", log_level="warning", access_log=False)
    uvicorn.Server(config).run([listening])
