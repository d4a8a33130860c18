"""Build the context of an HTTP request."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import UTC, datetime
from time import time
from typing import Final
from urllib.parse import quote

import msgspec

from mqctx._core import linked_vars
from mqctx._core.context import Context, from_checked, from_unread
from mqctx._core.registry import registry
from mqctx._core.rejection import Reason, Rejection, report_to_log
from mqctx._core.store import active_store, current
from mqctx._core.values import JSONValue, describe, escape, printable, to_plain
from mqctx._core.variable import Variable
from mqctx.formats.trace_context import TraceContextFormat, new_id, trace_of
from mqctx.middleware._access_log import SILENT, AccessLine
from mqctx.middleware._settings import (
    MAX_TEXT,
    PATH_SAFE,
    TRACE_HEADERS,
    check_flags,
    checked_headers,
    checked_id_header,
    checked_quiet_paths,
    checked_trusted,
    checked_values,
    id_check,
)

request_method = Variable("http.request.method", str, local=True)
url_path = Variable("url.path", str, local=True)
client_address = Variable("client.address", str, local=True)
request_start_time = Variable("http.request.start_time", datetime, local=True)

UNDER_WAY: Final = "mqctx.under_way"
"""Key in an ASGI scope or WSGI environ: a middleware further out has made the context."""

_is_plain_path = re.compile(r"[A-Za-z0-9_.~/:@!$&'()*+,;=-]*").fullmatch
_NONE: Final[Mapping[str, object]] = {}
_NO_HEADERS: Final[Mapping[str, str]] = {}
_METHODS: Final = frozenset(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"))
# A stranger's headers must not use up the budget that all values have in a message.
_MAX_TRACE: Final = 4096
_MAX_PATH: Final = 1024
_trace_context = TraceContextFormat()
_RESERVED: Final = frozenset(
    (
        *("request_id", *_trace_context.owned_names),
        *(each.name for each in (request_method, url_path, client_address, request_start_time)),
    )
)


class Request(msgspec.Struct, frozen=True, eq=False):
    """A request under way."""

    context: Context
    line: AccessLine
    """Its line in the log."""
    id: str
    """Its id as the response shows it; empty where no new one fits the type that is declared."""
    is_new_id: bool
    settings: "RequestContextBuilder"
    found: Mapping[str, str]
    """The headers that were looked for and found."""
    method: str
    path: str

    def is_handed_on(self, method: str, path: str, header: Callable[[str], str]) -> bool:
        """Tell whether a request that arrives inside this one is the same, in another protocol.

        An adapter, such as a2wsgi, makes a new request of it: same method, same headers, and a path
        that may have lost what the application is mounted at.
        """
        return (
            method == self.method
            and self.path.endswith(path)
            and header(self.settings.id_key) == self.id
            and all(header(k) == self.found.get(k, "") for k in self.settings.wanted_beside_id)
        )


def request_under_way() -> Request | None:
    """Return the request in whose context this runs: another protocol's may be further out."""
    handled = active_store().headers
    return handled if isinstance(handled, Request) else None


class _Arrival(msgspec.Struct, eq=False):
    """The values of a request, of which most are made when somebody reads one."""

    values: Mapping[str, object]
    method: str
    path: str
    client: Sequence[str | None] | None
    """Its address, first of all; none on a Unix socket."""
    at: float

    def __call__(self) -> Mapping[str, object]:
        method = self.method
        values: dict[str, object] = {
            **self.values,
            "http.request.method": method if method in _METHODS else printable(method, 32),
            "http.request.start_time": datetime.fromtimestamp(self.at, UTC),
            "url.path": _shown_path(self.path),
        }
        address = self.client[0] if self.client else None
        if address:
            values["client.address"] = printable(address, 64)
        return values


class RequestContextBuilder:
    """Build the context of each request as the settings say; `Settings` describes them.

    Raises:
        ConfigurationError: a setting makes no sense.
    """

    __slots__ = (
        *("_accepts_id", "_headers", "_id_from", "_is_quiet", "_silent", "_trace", "_trace_from"),
        *("_unsigned", "_values", "id_header", "id_key", "wanted", "wanted_beside_id"),
    )

    id_header: str
    """The header of the request id, and `id_key`, the same in lower case."""
    wanted: Set[str]
    """The headers that are looked for, in lower case."""

    def __init__(
        self,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        trusted: Collection[str] = (),
        values: Mapping[str, object] = _NONE,
        request_id_header: str = "X-Request-Id",
        request_id_validator: Callable[[str], object] | None = None,
        trust_client: bool = True,
        trace: bool = True,
        access_log: bool = True,
        quiet_paths: Collection[str] = (),
    ) -> None:
        check_flags(trust_client=trust_client, trace=trace, access_log=access_log)
        taken = checked_headers(headers, _RESERVED)
        self._headers = [(name, header, header.lower()) for name, header in taken.items()]
        strangers = {*taken, "tracestate"}
        self._unsigned = strangers - checked_trusted(trusted, strangers)
        self._values = dict(checked_values(values, {*_RESERVED, *taken}))
        self.id_header = checked_id_header(request_id_header)
        self.id_key = self.id_header.lower()
        self._accepts_id = id_check(request_id_validator)
        # Nothing is in the header of no name.
        self._id_from, self._trace_from = (self.id_key, "traceparent") if trust_client else ("", "")
        self._trace = trace
        self._silent = not access_log
        self._is_quiet = checked_quiet_paths(quiet_paths)
        ours = (self.id_key, *(TRACE_HEADERS if trace else ())) if trust_client else ()
        self.wanted = frozenset([*ours, *(key for _, _, key in self._headers)])
        self.wanted_beside_id = self.wanted - {self.id_key}

    def build(
        self,
        found: Mapping[str, str],
        method: str,
        path: str,
        client: Sequence[str | None] | None,
    ) -> Request:
        """Return the request that brought these of the `wanted` headers. Refuse none.

        `found` has the values of a repeated header joined by commas (RFC 9110 5.3), so that a
        doubled id or traceparent is none.
        """
        # A middleware further out has just set them.
        linked = linked_vars.held({}) if registry.linked else _NONE
        values: dict[str, object] = {**self._values, **linked}
        given = self._given_id(found, values)
        fresh = "" if given else new_id(40)  # at once for id and trace: it asks the system
        request_id = given or self._new_id(values, fresh[:32])
        if self._trace:
            self._trace_into(values, found, fresh[32:])
        for name, header, key in self._headers:
            if key in found:
                _take(values, name, header, found[key])
        # Most requests bring nothing but an id and a trace, which say nothing of themselves.
        unsigned: Collection[str] = ()
        if self._headers or "tracestate" in values:
            unsigned = self._unsigned.intersection(values)
        if linked:
            unsigned = {*unsigned, *_unsigned_linked(values, linked)}
        arrival = _Arrival(values, method, path, client, time())
        # Linked ContextVars take their values from it, so it is read at once.
        context = (
            from_checked(arrival(), unsigned) if registry.linked else from_unread(arrival, unsigned)
        )
        line = SILENT if self._silent else AccessLine(context, self._is_quiet)
        is_new = request_id is not given
        return Request(context, line, request_id, is_new, self, found, method, path)

    def _given_id(self, found: Mapping[str, str], values: dict[str, object]) -> str:
        """Put the client's request id into `values` and return its text, if it is accepted."""
        if values.get("request_id"):
            return str(values["request_id"])
        given = found.get(self._id_from, "")
        if not given:
            return ""
        if not self._accepts_id(given):
            _reject(self.id_header, "request_id", "malformed", escape(given))
            return ""
        if "request_id" in registry.declarations:
            return given if _take(values, "request_id", self.id_header, given) else ""
        values["request_id"] = given
        return given

    def _new_id(self, values: dict[str, object], text: str) -> str:
        """Put a new request id that fits the declared type into `values` and return its text."""
        if "request_id" not in registry.declarations:
            values["request_id"] = text
            return text
        # For a declared int, 63 bits: what databases and other languages can hold.
        for candidate in (text, str(int(text[:16], 16) >> 1)):
            try:
                values["request_id"] = _typed("request_id", candidate)
            except Exception:  # noqa: BLE001, S112 - a declared type's own code may raise anything
                continue
            return candidate
        detail = "no id that is made here fits the declared type"
        _reject(self.id_header, "request_id", "illegal-value", detail)
        return ""

    def _trace_into(self, values: dict[str, object], found: Mapping[str, str], new: str) -> None:
        """Put the trace into `values`: the client's, or a new one, of the `new` ids if any."""
        trace: Mapping[str, JSONValue] = {}
        if self._trace_from in found:
            trace = _trace_context.decode(found, _MAX_TRACE, report_to_log)
        trace = trace or trace_of(new or new_id(24))
        if trace.keys().isdisjoint(registry.declarations):
            values.update(trace)
            return
        for name, text in trace.items():
            _take(values, name, "traceparent", str(text))


def _unsigned_linked(values: Mapping[str, object], linked: Mapping[str, object]) -> Set[str]:
    """Return the names that linked ContextVars have from headers that were read further out."""
    outside = linked.keys() & current().unsigned
    return {name for name in outside if values[name] is linked[name]}


def join(values: str, value: str) -> str:
    """Return the value of a repeated header (RFC 9110 5.3); stop once it is over every limit."""
    return f"{values},{value}" if len(values) <= _MAX_TRACE else values


def _shown_path(path: str) -> str:
    """Return a path as in the URL, of bounded length, with nothing that breaks a log line."""
    if len(path) <= _MAX_PATH and _is_plain_path(path):
        return path
    octets = path.encode(errors="surrogateescape")
    return quote(octets[:_MAX_PATH], PATH_SAFE) + ("..." if len(octets) > _MAX_PATH else "")


def _take(values: dict[str, object], name: str, header: str, text: str) -> bool:
    """Put the text of a header into `values`, or report why not."""
    if len(text) > MAX_TEXT:
        _reject(header, name, "too-large", f"{len(text)} characters, at most {MAX_TEXT} are taken")
        return False
    try:
        values[name] = _typed(name, text)
    except Exception as error:  # noqa: BLE001 - a declared type's own code may raise anything
        _reject(header, name, "illegal-value", describe(error))
        return False
    return True


def _typed(name: str, text: str) -> object:
    """Return `text` as the context keeps it under `name`: "42" is 42 where an int is declared."""
    declaration = registry.declarations.get(name)
    if declaration is None or declaration.type is str:
        return text if text.isascii() else to_plain(name, text)
    return declaration.check(msgspec.convert(text, declaration.type, strict=False))


def _reject(header: str, name: str, reason: Reason, detail: str) -> None:
    report_to_log(Rejection("extract", header, name, reason, detail))
