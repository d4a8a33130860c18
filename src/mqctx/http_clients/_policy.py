"""The policy of all HTTP clients: which calls carry the context, and which values."""

import json
import logging
import re
import time
from collections.abc import Container, Generator, Iterable, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Required, TypedDict
from urllib.parse import urlsplit

import msgspec

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

__all__ = ["Answer", "OutgoingCallPolicy", "Settings"]

_HOST = re.compile(
    r"(\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE
)
# RFC 9110 5.5: printable, without spaces at its ends.
_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_HOSTS_MEANT: Final = "hosts such as ['api.internal', '*.example.com']"
_PORTS: Final = {"http": 80, "https": 443}
_TRACE: Final = ("traceparent", "tracestate")
_MAX_TRACE: Final = 4096
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

    __slots__ = ("_allowed", "_headers", "_log")

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
        self._log = log
        self._allowed = [*map(_host_and_port, checked_entries("hosts", hosts, _HOSTS_MEANT))]

    def headers_for(self, url: str, present: Container[str]) -> dict[str, str]:
        """Return what to add to the headers that are `present` in a call to `url`."""
        # At each call, and each redirect: where one may see the context, the next one may not.
        if not self._allows(_target(url)):
            return {}
        values = current().propagated()
        added: dict[str, str] = {}
        for name, header in self._headers.items():
            if header not in present:
                added |= _written(name, header, values.get(name))
        if "trace_id" in values and not any(header in present for header in _TRACE):
            added |= _trace.encode(values)(_MAX_TRACE)
        return added

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
            if self._log:
                _log(method, _target(url), answer.status, error, time.perf_counter() - start)

    def _allows(self, target: "_Target") -> bool:
        # A pattern keeps its dot: "*.example.com" must not be any host that ends with example.com.
        return any(
            port in (None, target.port)
            and (target.host.endswith(host[1:]) if host[0] == "*" else target.host == host)
            for host, port in self._allowed
        )


class _Target(NamedTuple):
    """The destination of a call."""

    host: str
    port: int | None
    path: str


def _target(url: str) -> _Target:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
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
