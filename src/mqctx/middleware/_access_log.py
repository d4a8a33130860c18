"""One line for each request that was answered, in the log of the standard library."""

import logging
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Final

import msgspec

from mqctx._http_log import log_request

GONE: Final = "client disconnected"
"""The note on a response whose client left before its end."""

_SHOWN: Final = ("http.request.method", "url.path", "client.address")
_LINE: Final = (
    "%%(http.request.method)s %%(url.path)s %%(%s)d in %%(http.request.duration_ms).1f ms"
)
_logger = logging.getLogger("mqctx.access")


class AccessLine(msgspec.Struct, eq=False):
    """The line of one request: written once, by the first caller that knows how it ended.

    The record has its fields too. All their names have a dot, so that none meets the name of a
    value that a filter adds from the context.
    """

    request: Mapping[str, Any]
    """The values of the request that are shown."""
    is_quiet: Callable[[str], bool]
    """Whether requests of a path have no line."""
    settled: bool = False
    """Whether it is written, or is not to be."""
    began: float = msgspec.field(default_factory=perf_counter)

    def completed(self, status: int, error: str | None = None) -> None:
        """Log that the request was answered, or the error that kept it from an answer."""
        self._write("request completed", "http.response.status_code", status, error)

    def closed(self, code: int, error: str | None = None) -> None:
        """Log that an open websocket was closed."""
        self._write("websocket closed", "websocket.code", code, error)

    def _write(self, what: str, field: str, number: int, error: str | None) -> None:
        if self.settled:
            return
        self.settled = True
        # Before all else: a logger that is not enabled costs nothing more.
        if not _logger.isEnabledFor(logging.INFO) or self.is_quiet(self.request["url.path"]):
            return
        shown = {name: self.request.get(name) for name in _SHOWN}
        text = f"{what}: {_LINE % field}{' (%(error.type)s)' if error else ''}"
        log_request(_logger, text, {**shown, field: number}, perf_counter() - self.began, error)


SILENT: Final = AccessLine({}, bool, settled=True)
"""The line of a request that is to have none."""
