"""One header for each value, for services that look for a header of their own."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from mqctx._core.rejection import Rejection, Report
from mqctx._core.settings import checked_table, refuse_shared
from mqctx._core.values import JSONValue, UntypedText, escape
from mqctx.errors import ConfigurationError, OversizeError
from mqctx.formats._format import (
    OWN_HEADERS,
    PROPERTY,
    Headers,
    as_text,
    check_header,
    check_prefix,
    header_label,
    header_size,
    headers_with,
    raw_in,
)
from mqctx.formats.json import from_json, to_json

__all__ = ["CORRELATION_ID", "MESSAGE_ID", "FlatFormat"]

CORRELATION_ID: Final = f"{PROPERTY}correlation_id"
MESSAGE_ID: Final = f"{PROPERTY}message_id"
# No others: RabbitMQ checks `user_id`, obeys `expiration`, and clients answer to `reply_to`.
_PROPERTIES: Final = (CORRELATION_ID, MESSAGE_ID)
# AMQP 0-9-1, 4.2.5.3: a short string.
_MAX_PROPERTY: Final = 255
_JSON: Final = "json:"
# Printable ASCII, but for the percent sign; letters and digits are safe without saying.
_SAFE = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


class FlatFormat:
    """One header for each value: text as it is, other types as JSON behind `json:`.

    Args:
        headers: The header for each name. Other values are not written. Instead of a header it
            may be `"property:correlation_id"` or `"property:message_id"`, the message's own:
            at most 255 bytes.
        prefix: The prefix of the headers of all values; by default, without `headers`, `"mqctx-"`.
            `mqctx-failure` and `mqctx-redrive` are headers of another kind: they are never read,
            written or removed, so no value named `failure` travels under that prefix.

    Raises:
        ConfigurationError: a name cannot be the name of a value; a broker, a client or Celery
            gives a header another meaning; two names have one header; or both are given.
    """

    __slots__ = ("_headers", "header_prefix", "headers", "properties")

    owned_names: tuple[str, ...] = ()
    yields_plain_json = False
    verifies = False
    decode_text = None
    join = None

    def __init__(
        self, headers: Mapping[str, str] | None = None, *, prefix: str | None = None
    ) -> None:
        self.header_prefix: str | None = None
        self._headers: dict[str, str] = {}
        if headers is None:
            self.header_prefix = _checked_prefix(prefix)
        elif prefix is None:
            self._headers = _checked(headers)
        else:
            raise ConfigurationError("headers and prefix: give one of them")
        self.headers: tuple[str, ...] = tuple(self._headers.values())
        self.properties: tuple[str, ...] = tuple(filter(_PROPERTIES.__contains__, self.headers))

    def encode(self, values: Mapping[str, JSONValue]) -> Mapping[str, str]:
        """Return a header for each of the values.

        Raises:
            OversizeError: a value is too long for the property that is to carry it.
        """
        if self.header_prefix is None:
            return self._encode_named(values)
        written = {self.header_prefix + name: _written(value) for name, value in values.items()}
        for header in OWN_HEADERS:
            written.pop(header, None)
        return written

    def _encode_named(self, values: Mapping[str, JSONValue]) -> Mapping[str, str]:
        written = {h: _written(values[n]) for n, h in self._headers.items() if n in values}
        _check_room(self._headers, written)
        return written

    def decode(self, headers: Headers, max_bytes: int, report: Report) -> Mapping[str, JSONValue]:
        """Return the values of all our headers, as long as they fit."""
        values: dict[str, JSONValue] = {}
        for name, header in self._found(headers):
            report_it = partial(self._report, report, name)
            raw = raw_in(headers, header, max_bytes, report_it)
            if raw is None:
                continue
            max_bytes -= header_size(header, raw)  # the limit is one for all of them together
            try:
                values[name] = _read(as_text(raw))
            except ValueError as error:
                report_it(Rejection("extract", header, None, "malformed", escape(str(error))))
        return values

    def _report(self, report: Report, name: str, rejection: Rejection) -> None:
        # Kinds of rejections are remembered by header, and headers with a prefix are unlimited.
        header = rejection.header if self.header_prefix is None else header_label(self)
        report(msgspec.structs.replace(rejection, header=header, key=escape(name)))

    def strip(self, headers: dict[str, Any]) -> None:
        """Remove all our headers from `headers`, in place."""
        for _, header in self._found(headers):  # a list: it does not change with `headers`
            del headers[header]

    def _found(self, headers: Mapping[Any, Any]) -> list[tuple[str, str]]:
        """Return the name and header of each of ours that is in `headers`."""
        start = self.header_prefix
        if start is None:
            return [(name, h) for name, h in self._headers.items() if h in headers]
        return [(header.removeprefix(start), header) for header in headers_with(start, headers)]

    def __repr__(self) -> str:
        if self.header_prefix is not None:
            return f"FlatFormat(prefix={self.header_prefix!r})"
        return f"FlatFormat({self._headers!r})"


def _checked_prefix(given: str | None) -> str:
    prefix = "mqctx-" if given is None else given
    check_prefix(prefix)
    return prefix


def _checked(given: object) -> dict[str, str]:
    headers = checked_table("headers", given, _check_header, "; what all begin with is prefix=...")
    refuse_shared("headers", headers.values())
    if not headers:
        raise ConfigurationError("headers: give each name a header of its own, not {}")
    return headers


def _check_header(_: str, header: str) -> None:
    if header not in _PROPERTIES:
        check_header(header)


def _check_room(headers: Mapping[str, str], written: Mapping[str, str]) -> None:
    """Raise `OversizeError` if a property has no room for its value."""
    names = [name for name, h in headers.items() if _is_too_long(h, written.get(h, ""))]
    if names:
        raise OversizeError(
            f"{', '.join(names)}: an AMQP property has room for {_MAX_PROPERTY} bytes; "
            "choose a header, or set on_oversize='drop'",
            names,
        )


def _is_too_long(header: str, text: str) -> bool:
    return header in _PROPERTIES and len(text) > _MAX_PROPERTY


def _written(value: JSONValue) -> str:
    if not isinstance(value, str):
        return _JSON + to_json(value)
    # Text that begins like JSON must not be read as JSON: the escape of its first letter tells.
    text = quote(value, safe=_SAFE)
    return f"%6A{text[1:]}" if text.startswith(_JSON) else text


def _read(text: str) -> JSONValue:
    """Return the value; raise `ValueError` if it is not the JSON that it should be."""
    if text.startswith(_JSON):
        return from_json(text.removeprefix(_JSON))
    return UntypedText(unquote(text, errors="replace"))
