"""One line for each request that was answered, in the log of the standard library."""

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

GONE: Final = "client disconnected"
"""The note where nobody is there to take the rest of the response."""

_SHOWN: Final = ("http.request.method", "url.path", "client.address")
_logger = logging.getLogger("mqctx.access")


class AccessLine:
    """The line of one request: written once, by whoever is first to know how it ended.

    Its fields are in the record too. All start with `http.` or `websocket.`, so that a value
    of the context that a filter adds has a name of its own.
    """

    __slots__ = ("_began", "_request", "_settled")

    def __init__(self, request: Mapping[str, Any], *, silent: bool) -> None:
        self._began = perf_counter()
        self._request = request
        self._settled = silent

    def completed(self, status: int, error: str | None = None) -> None:
        """Say that the request was answered, or what kept it from an answer."""
        self._write(
            "request completed: %s %s %d in %.1f ms%s", "http.response.status_code", status, error
        )

    def closed(self, code: int, error: str | None = None) -> None:
        """Say that a websocket that was open is closed."""
        self._write("websocket closed: %s %s %d in %.1f ms%s", "websocket.code", code, error)

    def _write(self, text: str, field: str, number: int, error: str | None) -> None:
        if self._settled or not _logger.isEnabledFor(logging.INFO):
            return
        self._settled = True
        milliseconds = (perf_counter() - self._began) * 1000
        shown = {name: self._request[name] for name in _SHOWN if name in self._request}
        ended = {field: number, "http.request.duration_ms": round(milliseconds, 3)}
        noted = {"error.type": error} if error else {}
        _logger.info(
            text,
            shown["http.request.method"],
            shown["url.path"],
            number,
            milliseconds,
            f" ({error})" if error else "",
            extra={**shown, **ended, **noted},
        )
