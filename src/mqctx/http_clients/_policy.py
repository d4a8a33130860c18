"""The policy of all HTTP clients: which calls carry the context, and which values."""

import json
import logging
import re
import time
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Required, TypedDict
from urllib.parse import urlsplit

import msgspec

from mqctx._core.context import Context, keep_shown
from mqctx._core.registry import registry
from mqctx._core.rejection import Rejection, report_to_log
from mqctx._core.settings import (
    check_flag,
    check_written_http_header,
    checked_entries,
    checked_table,
    refuse_shared,
)
from mqctx._core.store import current
from mqctx._core.values import as_plain, escape
from mqctx._http_log import log_request
from mqctx.errors import ConfigurationError, InvalidValueError
from mqctx.formats.trace_context import TraceContextFormat

__all__ = ["PORTS", "Answer", "OutgoingCallPolicy", "Settings"]

_HOST = re.compile(
    r"(\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE
)
# RFC 9110 5.5: printable, without spaces at its ends.
_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_HOSTS_MEANT: Final = "hosts such as ['api.internal', '*.example.com']"
PORTS: Final = {"http": 80, "https": 443}
"""The port of a URL that names none, by its scheme."""
_TRACE: Final = ("traceparent", "tracestate")
_MAX_TRACE: Final = 4096
_MOST_KNOWN: Final = 1000
_DEFAULT_HEADERS: Final = MappingProxyType({"request_id": "X-Request-Id"})
_trace = TraceContextFormat()
_logger = logging.getLogger("mqctx.calls")


class Settings(TypedDict, total=False):
    """The calls that carry the context, and the values. All clients take these arguments."""

    hosts: Required[Iterable[str]]
    """The hosts that may see the context: exactly these, on any port unless one is given
    (`"api.internal:8443"`). `"*.example.com"` is every host below example.com, not itself; `"*"`
    is every host. An IPv6 address goes in brackets."""

    headers: Mapping[str, str]
    """The header for each name in the context, by default `{"request_id": "X-Request-Id"}`. Other
    values do not leave. A value that is not text goes as JSON; one that no header can hold is left
    out with a WARNING of the logger `mqctx`."""

    log: bool
    """Write an INFO line for each call, allowed or not, to the logger `mqctx.calls`: method, host,
    path, status or type of the error, and the milliseconds until the response's headers were
    there. The default is False."""


class Answer(msgspec.Struct):
    """The answer to a call: nothing yet, or the status of a response."""

    status: int | None = None


class OutgoingCallPolicy:
    """Decide for each call, and for each redirect anew, which headers carry the context.

    They hold the values of `headers`, and the active trace as W3C Trace Context, in which each
    call is a span of its own. Outside every run there are none; without a trace, no trace is
    begun. A header that the caller set stays.
    """

    __slots__ = ("_headers", "_may_see", "log")

    def __init__(
        self,
        *,
        hosts: Iterable[str],
        headers: Mapping[str, str] = _DEFAULT_HEADERS,
        log: bool = False,
    ) -> None:
        self._headers = checked_table("headers", headers, check_written_http_header)
        refuse_shared("headers", (*_TRACE, *map(str.lower, self._headers.values())))
        check_flag("log", log)
        self.log = log
        self._may_see = _Hosts(map(_host_and_port, checked_entries("hosts", hosts, _HOSTS_MEANT)))

    def headers_for(self, url: str, present: Container[str]) -> dict[str, str]:
        """Return what to add to the headers that are `present` in a call to `url`."""
        target = _target(url)
        return self.headers_to(target.host, target.port, present)

    def headers_to(self, host: str, port: int | None, present: Container[str]) -> dict[str, str]:
        """Return what to add to the headers that are `present` in a call to that host.

        Asked for in lower case.
        """
        # At each call, and each redirect: where one may see the context, the next one may not.
        if not self._may_see[host, port]:
            return {}
        written = self._of(current())
        added = {name: text for key, name, text in written.headers if key not in present}
        # Both headers are of one trace: with one that the caller set goes none of ours.
        if written.trace and "traceparent" not in present and "tracestate" not in present:
            added.update(written.trace(_MAX_TRACE))
        return added

    def _of(self, context: Context) -> "_Written":
        """Return what is written of a context: made once, and kept with it."""
        chosen = registry.undeclared
        known: tuple[object, _Written] = context.shown.get(self, _NOTHING_WRITTEN)
        if known[0] is chosen:
            return known[1]
        values = context.propagated()
        headers: dict[str, str] = {}
        for name, header in self._headers.items():
            headers |= _written(name, header, values.get(name))
        written = _Written(
            [(header.lower(), header, text) for header, text in headers.items()],
            _trace.encode(values) if "trace_id" in values else None,
        )
        keep_shown(context, self, (chosen, written))
        return written

    @contextmanager
    def logged(self, method: str, url: str) -> Generator[Answer]:
        """Log, if so set, the call that is made inside; fill in the answer there."""
        answer, error, start = Answer(), None, time.perf_counter()
        try:
            yield answer
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            if self.log:
                _log(method, _target(url), answer.status, error, time.perf_counter() - start)


class _Hosts(dict[tuple[str, int | None], bool]):
    """Whether a host, on a port, may see the context: looked up once, and remembered."""

    def __init__(self, allowed: Iterable[tuple[str, int | None]]) -> None:
        super().__init__()
        self._allowed = [*allowed]

    def __missing__(self, target: tuple[str, int | None]) -> bool:
        host, port = target
        if len(self) >= _MOST_KNOWN:  # a stranger may choose the hosts of redirects
            self.clear()
        self[target] = may_see = any(
            _is_allowed(host, pattern) for pattern, on in self._allowed if on in (None, port)
        )
        return may_see


def _is_allowed(host: str, pattern: str) -> bool:
    # A pattern keeps its dot: "*.example.com" must not be any host that ends with example.com.
    return host.endswith(pattern[1:]) if pattern[0] == "*" else host == pattern


class _Written(NamedTuple):
    """The headers that calls carry of one context."""

    headers: Sequence[tuple[str, str, str]]
    """Each in lower case, as it is written, and its text."""
    trace: Callable[[int], Mapping[str, str]] | None
    """Makes those of the trace for one call, in so many bytes; None if there is no trace."""


_NOTHING_WRITTEN: Final = (None, _Written((), None))


class _Target(NamedTuple):
    """The destination of a call."""

    host: str
    port: int | None
    path: str


def _target(url: str) -> _Target:
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:  # the client will say so in its own way
        return _Target("", None, "")
    return _Target(parts.hostname or "", port, parts.path)


def _host_and_port(allowed: str) -> tuple[str, int | None]:
    match = _HOST.fullmatch(allowed)
    if match is None or (match[2] is not None and not 0 < int(match[2]) < 65536):
        raise ConfigurationError(
            f"hosts: {allowed!r} is no host; give its name or address, with no scheme or path, "
            "such as 'api.internal', '*.example.com', '[::1]:8443', in ASCII (xn--...)"
        )
    return match[1].lower().strip("[]"), int(match[2]) if match[2] else None


def _written(name: str, header: str, value: Any) -> dict[str, str]:
    """Return the header with that value, or none if there is none, or no header can hold it."""
    if value is None:
        return {}
    try:
        plain = as_plain(name, value)
    except InvalidValueError as error:  # a linked ContextVar may hold anything
        report_to_log(Rejection("inject", header, name, "illegal-value", escape(str(error))))
        return {}
    # Unlike msgspec, `json` escapes all but ASCII, as the value of a header needs it.
    text = plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":"))
    if not _VALUE.fullmatch(text):
        detail = "a header holds printable ASCII only, without spaces at its ends"
        report_to_log(Rejection("inject", header, name, "illegal-value", detail))
        return {}
    return {header: text}


def _log(
    method: str, target: _Target, status: int | None, error: str | None, seconds: float
) -> None:
    outcome = "%(error.type)s" if error else "%(http.response.status_code)s"
    log_request(
        _logger,
        f"%(http.request.method)s %(server.address)s%(url.path)s: {outcome} in "
        "%(http.request.duration_ms).1f ms",
        {
            "http.request.method": method,
            "server.address": target.host,
            "server.port": target.port,
            "url.path": target.path,
            "http.response.status_code": status,
        },
        seconds,
        error,
    )
