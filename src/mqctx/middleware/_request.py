"""What of an HTTP request becomes its context."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypedDict, cast
from urllib.parse import quote

import msgspec

from mqctx._core.context import Context
from mqctx._core.rejection import Reason, Rejection, log_rejection
from mqctx._core.values import JSONValue, check_name, declarations, escape, to_plain
from mqctx._core.variable import Variable
from mqctx.errors import ConfigurationError, InvalidNameError
from mqctx.formats.trace_context import TraceContextFormat, new_id, start_trace
from mqctx.middleware._access_log import AccessLine

request_method = Variable("http.request.method", str, local=True)
url_path = Variable("url.path", str, local=True)
client_address = Variable("client.address", str, local=True)
request_start_time = Variable("http.request.start_time", datetime, local=True)

UNDER_WAY: Final = "mqctx.under_way"
"""Key in an ASGI scope or WSGI environ: a middleware further out has made the context."""

# What proxies write: hex, UUID, ULID, base64, the unique ids of HAProxy, Apache, AWS. Nothing that
# a log, a shell or HTML takes for more than text.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:=+/@-]{1,128}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_PATH_SAFE: Final = "/:@!$&'()*+,;="  # RFC 3986 3.3
# A stranger's headers must not use up the budget that all values have in a message.
_MAX_TEXT: Final = 512
_MAX_TRACE: Final = 4096
_TRACE_HEADERS: Final = ("traceparent", "tracestate")
_trace_context = TraceContextFormat()
_OURS: Final = frozenset(
    (
        *("request_id", *_trace_context.owned_names),
        *(each.name for each in (request_method, url_path, client_address, request_start_time)),
    )
)


class Settings(TypedDict, total=False):
    """What the middlewares take besides the application."""

    headers: Mapping[str, str]
    request_id_header: str
    trust_client: bool
    trace: bool
    access_log: bool
    quiet_paths: Collection[str]


class Request(msgspec.Struct, frozen=True, eq=False):
    """A request under way: its context, its id as the response shows it, its line in the log."""

    context: Context
    id: str
    line: AccessLine


class RequestContextBuilder:
    """What is taken from a request.

    Args:
        headers: Further headers that are taken, each by the name of its value in the context:
            `{"tenant": "X-Tenant-Id"}`. Values are text, or of the type that a `Variable`
            declares ("42" becomes 42); at most 512 characters each. What does not fit is left out,
            with a WARNING.
        request_id_header: Brings the request id, and shows it on the response.
        trust_client: Whether the client's request id and trace are taken. If not, all
            requests get new ones.
        trace: Whether the context has a W3C trace: the client's, else a new one.
        access_log: Whether a line is logged at the end of each request, INFO of `mqctx.access`.
        quiet_paths: Paths without such a line, a trailing `*` for a prefix.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    __slots__ = ("_headers", "_quiet", "_quiet_prefixes", "_trace", "_trust", "id_header", "wanted")

    id_header: str
    wanted: frozenset[str]
    """The headers that are looked for, in lower case."""

    def __init__(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        request_id_header: str = "X-Request-Id",
        trust_client: bool = True,
        trace: bool = True,
        access_log: bool = True,
        quiet_paths: Collection[str] = (),
    ) -> None:
        self.id_header = _checked_header("request_id_header", request_id_header)
        self._headers = [(*each, each[1].lower()) for each in _checked_headers(headers or {})]
        self._trust = trust_client
        self._trace = trace
        quiet = _checked_paths(quiet_paths) if access_log else ("*",)
        self._quiet = frozenset(quiet)
        self._quiet_prefixes = tuple(path[:-1] for path in quiet if path.endswith("*"))
        trusted = [self.id_header.lower(), *(_TRACE_HEADERS if trace else ())]
        chosen = (lowered for _, _, lowered in self._headers)
        self.wanted = frozenset([*(trusted if trust_client else ()), *chosen])

    def build(
        self, found: Mapping[str, str], method: str, path: bytes, client: str | None
    ) -> Request:
        """Return the request that brought these of the `wanted` headers. Never refuses one.

        Where a header came more than once, `found` has its values joined by commas (RFC 9110
        5.3): so a doubled id or traceparent is none.
        """
        now = datetime.now(UTC)
        values: dict[str, Any] = {"http.request.method": method, "http.request.start_time": now}
        # Percent-encoded, as in the URL: no path can break a line of a log.
        values["url.path"] = encoded = quote(path, _PATH_SAFE)
        if client:
            values["client.address"] = client
        request_id = self._identify(found, values)
        if self._trace:
            self._trace_into(values, found)
        for name, header, lowered in self._headers:
            if lowered in found:
                _take(values, name, header, found[lowered])
        context = Context._from_checked(values)
        quiet = encoded in self._quiet or encoded.startswith(self._quiet_prefixes)
        return Request(context, request_id, AccessLine(context, silent=quiet))

    def _identify(self, found: Mapping[str, str], values: dict[str, Any]) -> str:
        """Put the request id into `values`: the client's, or a new one. Return its text."""
        given = found.get(self.id_header.lower()) if self._trust else None
        if given and not _REQUEST_ID.fullmatch(given):
            _reject(self.id_header, "request_id", "malformed", escape(given))
        elif given and _take(values, "request_id", self.id_header, given):
            return given
        text = new_id(16)
        values["request_id"] = _typed("request_id", text)
        return text

    def _trace_into(self, values: dict[str, Any], found: Mapping[str, str]) -> None:
        """Put the trace into `values`: the client's, or a new one."""
        trace: Mapping[str, JSONValue] = {}
        if self._trust:
            trace = _trace_context.decode(found, _MAX_TRACE, log_rejection)
        for name, text in (trace or start_trace()).items():
            if name in declarations:
                _take(values, name, "traceparent", str(text))
            else:
                values[name] = text


def _take(values: dict[str, Any], name: str, header: str, text: str) -> bool:
    """Put what a header brought into `values`; or say why not."""
    if len(text) > _MAX_TEXT:
        _reject(header, name, "too-large", f"{len(text)} characters, at most {_MAX_TEXT} are taken")
        return False
    try:
        values[name] = _typed(name, text)
    except Exception as error:  # noqa: BLE001 - a declared type's own code may raise anything
        _reject(header, name, "illegal-value", escape(str(error)))
        return False
    return True


def _typed(name: str, text: str) -> Any:
    """Return `text` as the context keeps it under `name`: "42" is 42 where an int is declared."""
    declaration = declarations.get(name)
    if declaration is None:
        return text if text.isascii() else to_plain(name, text)
    return declaration.check(msgspec.convert(text, declaration.type, strict=False))


def _reject(header: str, name: str, reason: Reason, detail: str) -> None:
    log_rejection(Rejection("extract", header, name, reason, detail))


def _checked_headers(headers: object) -> Iterator[tuple[str, str]]:
    if not isinstance(headers, Mapping):
        raise ConfigurationError(
            f"headers: expected {{'tenant': 'X-Tenant-Id'}} or the like, got {headers!r}"
        )
    for name, header in cast("Mapping[object, object]", headers).items():
        try:
            check_name(name)
        except InvalidNameError as error:
            raise ConfigurationError(f"headers: {error}") from None
        if name in _OURS:
            raise ConfigurationError(f"headers: {name} has its own source; choose another name")
        yield str(name), _checked_header("headers", header)


def _checked_header(setting: str, header: object) -> str:
    if not isinstance(header, str) or not _HEADER.fullmatch(header):
        raise ConfigurationError(
            f"{setting}: {header!r} cannot be the name of an HTTP header; give one such as "
            "'X-Tenant-Id'"
        )
    return header


def _checked_paths(paths: object) -> tuple[str, ...]:
    if isinstance(paths, str):
        raise ConfigurationError(
            f"quiet_paths: expected paths such as ['/health', '/static/*'], got {paths!r}"
        )
    return tuple(cast("Collection[str]", paths))
