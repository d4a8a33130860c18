"""One site as WSGI and ASGI application, and how its servers log: every line as JSON."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import mqctx

log = logging.getLogger("shop")

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"context": {"()": "mqctx.logging.stdlib.ContextFilter"}},
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(name)s %(levelname)s %(message)s",
        }
    },
    "handlers": {
        "out": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "json",
            "filters": ["context"],
        }
    },
    "root": {"level": "INFO", "handlers": ["out"]},
    # gunicorn's loggers need handlers of their own: its worker for uvicorn hands these on. To those
    # of hypercorn this gives its own in place of plain ones.
    "loggers": {
        f"{server}.{name}": {"level": "INFO", "handlers": ["out"], "propagate": False}
        for server in ("gunicorn", "hypercorn")
        for name in ("error", "access")
    },
}


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterator[bytes]:
    """Answer in the context of the request, whose id is its query."""
    context = mqctx.Context(request_id=environ["QUERY_STRING"])
    return iter([context.run(answer, environ["PATH_INFO"], start_response)])


def answer(path: str, start_response: Callable[..., object]) -> bytes:
    log.info("working")
    if path == "/fail":
        raise ValueError("no such order")
    request_id = mqctx.current()["request_id"]
    start_response("200 OK", [("Content-Length", "4"), ("X-Request-Id", request_id)])
    return b"done"


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer in the context of the request, whose id is its query."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    with mqctx.scope(request_id=scope["query_string"].decode()):
        log.info("working")
        if scope["path"] == "/fail":
            raise ValueError("no such order")
        headers = [(b"content-length", b"4"), (b"x-request-id", scope["query_string"])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"done"})
