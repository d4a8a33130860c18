"""The settings of both middlewares, and their checks."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypedDict, cast
from urllib.parse import quote

from mqctx._core.context import Context
from mqctx._core.name_filter import any_of
from mqctx._core.settings import (
    check_flag,
    check_http_header,
    check_written_http_header,
    checked_entries,
    checked_table,
)
from mqctx.errors import ConfigurationError, MqctxError
from mqctx.formats.trace_context import TraceContextFormat

TRACE_HEADERS: Final = TraceContextFormat.headers
MAX_TEXT: Final = 512
"""The longest value that is taken from a header, in characters."""
PATH_SAFE: Final = "/:@!$&'()*+,;="  # RFC 3986 3.3
# Matches the ids that proxies write: hex, UUID, ULID, base64, the unique ids of HAProxy, Apache,
# AWS. Nothing that a log, a shell or HTML takes for more than text.
_is_plain_id: Final = re.compile(r"[A-Za-z0-9._~:=+/@-]{1,128}").fullmatch
# A response can show no other text (RFC 9110 5.5).
_is_printable: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?").fullmatch
_PATHS_MEANT: Final = "paths such as ['/health', '/static/*']"


class Settings(TypedDict, total=False):
    """How a request gets its context. Both middlewares take these keyword arguments."""

    headers: Mapping[str, str]
    """Further headers that are taken, each by the name of its value in the context:
    `{"tenant": "X-Tenant-Id"}`. Values are text, or of the type that a `Variable` declares ("42"
    becomes 42), at most 512 characters each. A value that does not fit is left out with a
    WARNING."""

    trusted: Collection[str]
    """Names among those of `headers`, and `tracestate`, whose values only a gateway of yours can
    have written. All others have the origin "unsigned", so that no signed format vouches for text
    of a stranger."""

    values: Mapping[str, object]
    """Values that each request has: `{"service": "shop", "region": "eu"}`."""

    request_id_header: str
    """The header that brings the request id, and shows it on the response; by default
    `X-Request-Id`. An id that is made here is in the request's headers too, for the application."""

    request_id_validator: Callable[[str], object]
    """Called with the client's id, which is dropped if this returns something false, or raises. By
    default an id has at most 128 of the characters `A-Z a-z 0-9 . _ ~ : = + / @ -`. In any case it
    is printable ASCII of at most 512 characters."""

    trust_client: bool
    """Whether the client's request id and trace are taken; the default. Otherwise each request
    gets new ones."""

    trace: bool
    """Whether the context has a W3C trace, the client's or a new one. The default is True."""

    access_log: bool
    """Whether each request ends with an INFO line of the logger `mqctx.access`. The default is
    True."""

    quiet_paths: Collection[str]
    """Paths without such a line, a trailing `*` for a prefix: `["/health", "/static/*"]`."""


def checked_headers(given: object, reserved: Collection[str]) -> dict[str, str]:
    """Check `headers`, none of whose names may be `reserved`, and return them."""
    headers = checked_table("headers", given, check_http_header)
    _refuse_reserved("headers", headers, reserved)
    return headers


def checked_trusted(given: object, known: Collection[str]) -> frozenset[str]:
    """Check `trusted`, all of which must be `known`, and return them."""
    trusted = frozenset(checked_entries("trusted", given, "names such as ['tenant']"))
    for name in sorted(trusted.difference(known)):
        raise ConfigurationError(
            f"trusted: {name!r} is not taken from a header; give names of headers={{...}}, "
            "or 'tracestate'"
        )
    return trusted


def checked_values(given: object, reserved: Collection[str]) -> Context:
    """Check `values`, none of whose names may be `reserved`, and return them."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"values: expected {{'service': 'shop'}} or the like, got {given!r}"
        )
    try:
        values = Context(cast("Mapping[str, object]", given))
    except MqctxError as error:
        raise ConfigurationError(f"values: {error}") from None
    _refuse_reserved("values", values, reserved)
    return values


def checked_id_header(given: object) -> str:
    """Check `request_id_header`, which is written too, and return it."""
    header = check_written_http_header("request_id_header", given)
    if header.lower() in TRACE_HEADERS:
        raise ConfigurationError(f"request_id_header: {header!r} is the trace's; choose another")
    return header


def id_check(validator: object) -> Callable[[str], object]:
    """Return the test for a client's id: `request_id_validator` if there is one."""
    if validator is None:
        return _is_plain_id
    if not callable(validator):
        raise ConfigurationError(
            f"request_id_validator: expected a function such as re.compile(...).fullmatch, "
            f"got {validator!r}"
        )

    def accepts(given: str) -> bool:
        try:
            return len(given) <= MAX_TEXT and bool(_is_printable(given) and validator(given))
        except Exception:  # noqa: BLE001 - a stranger's text must not fail the request
            return False

    return accepts


def check_flags(**flags: object) -> None:
    """Raise `ConfigurationError` if one is neither True nor False."""
    for setting, given in flags.items():
        check_flag(setting, given)


def checked_quiet_paths(given: object) -> Callable[[str], bool]:
    """Return the test for a path, as in the URL, that is one of `quiet_paths`."""
    paths = checked_entries("quiet_paths", given, _PATHS_MEANT)
    for path in paths:
        if path != "*" and not _begins_path(path.removesuffix("*")):
            raise ConfigurationError(
                f"quiet_paths: no path is {path!r}; expected {_PATHS_MEANT}, as in the URL "
                "without its query, a `*` at the end only"
            )
    return any_of(paths)


def _begins_path(text: str) -> bool:
    """Tell whether a path may begin so, as it stands in a URL."""
    # Escapes may stand: paths are compared as they are in the URL, not as they are meant.
    return text.startswith("/") and "*" not in text and quote(text, PATH_SAFE + "%") == text


def _refuse_reserved(setting: str, names: Collection[str], reserved: Collection[str]) -> None:
    for name in names:
        if name in reserved:
            raise ConfigurationError(f"{setting}: {name} has its own source; choose another name")
