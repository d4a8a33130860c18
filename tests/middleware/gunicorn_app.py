"""A WSGI application for gunicorn, whose access log goes to stdout. See test_gunicorn.py."""

import contextvars
import io
import logging
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mqctx
from mqctx.middleware.wsgi import ContextMiddleware

other: contextvars.ContextVar[str] = contextvars.ContextVar("other", default="")


class Shown(logging.Formatter):
    """The line, and what `bind` added to its context."""

    def format(self, record: logging.LogRecord) -> str:
        context = mqctx.current()
        return f"LINE {context['request_id']} {context.get('user')} {record.getMessage()}"


handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(Shown())
logging.getLogger("mqctx.access").addHandler(handler)
logging.getLogger("mqctx.access").setLevel(logging.INFO)


def serve(environ: Any, start_response: Any) -> Iterable[bytes]:
    before = f"{mqctx.current().get('user')}{other.get()}"
    user = environ["QUERY_STRING"]
    mqctx.bind(user=user)
    other.set(user)
    time.sleep(0.01)
    if environ["PATH_INFO"] == "/fail":
        raise LookupError
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/file":
        return environ["wsgi.file_wrapper"](Path(__file__).open("rb"))
    if environ["PATH_INFO"] == "/memory":
        return environ["wsgi.file_wrapper"](io.BytesIO(b"in memory"))
    return stream(before, endless=environ["PATH_INFO"] == "/endless")


def stream(before: str, *, endless: bool) -> Iterable[bytes]:
    yield before.encode()
    time.sleep(0.01)
    context = mqctx.current()
    yield f" {context['request_id']} {context['user']} {other.get()}".encode()
    while endless:
        yield b"." * 65536


app = ContextMiddleware(serve)
