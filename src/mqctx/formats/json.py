"""The default layout: one header with a compact JSON object, all ASCII."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from mqctx._core.rejection import Reason, Rejection, Report
from mqctx._core.values import JSONValue, escape, to_plain
from mqctx.errors import InvalidValueError
from mqctx.formats._format import Headers, check_header, header_size, raw_in

__all__ = ["JsonFormat", "from_json", "to_json"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_ReadFlat: TypeAlias = Callable[[str], dict[str, str | int | float | bool | None]]
read_flat: _ReadFlat = msgspec.json.Decoder(dict[str, str | int | float | bool | None]).decode
"""Reads the usual case: no lists and no dicts, which could be nested too deep."""


def to_json(value: object) -> str:
    """Return a plain value, or a mapping of them, as compact JSON in printable ASCII."""
    text = _encode(value).decode()
    if not text.isascii():
        text = _escaped(value)
    return text.replace("\x7f", "\\u007f")  # JSON leaves DEL as it is, but no header may hold it


def _escaped(value: object) -> str:
    # msgspec writes UTF-8 and has no option to escape.
    import json  # noqa: PLC0415 - takes long, and is seldom needed

    return json.dumps(value, separators=(",", ":"))


def from_json(text: str) -> JSONValue:
    """Return the value of a JSON text; raise `ValueError` if it is malformed."""
    try:
        value: JSONValue = _decode(text)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    return value


class JsonFormat:
    """One header with a compact JSON object (RFC 8259), escaped to ASCII.

    Args:
        header: The name of the header.

    Raises:
        ConfigurationError: a broker, a client or Celery gives that header another meaning.
    """

    __slots__ = ("_framing", "decode_text", "header", "headers")

    header_prefix = None
    owned_names: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    yields_plain_json = True
    verifies = False
    join = None

    def __init__(self, header: str = "mqctx") -> None:
        check_header(header)
        self.header: Final = header
        self.headers: tuple[str, ...] = (header,)
        self._framing = header_size(header, "")
        # A subclass may decode in a way of its own.
        own_decode = type(self).decode is JsonFormat.decode
        self.decode_text: _ReadFlat | None = read_flat if own_decode else None

    def encode(self, values: Mapping[str, JSONValue]) -> Mapping[str, str]:
        """Return the one header that carries `values`, or none if there are no values."""
        return {self.header: to_json(values)} if values else {}

    def decode(self, headers: Headers, max_bytes: int, report: Report) -> Mapping[str, JSONValue]:
        """Return the values in the header, which streams may hand out as bytes or bytearray."""
        try:
            text = headers[self.header]
            if type(text) is str and text.isascii() and len(text) + self._framing <= max_bytes:
                return read_flat(text)
        except KeyError:
            return {}
        except ValueError:
            pass  # reported below
        return self._decode_unusual(headers, max_bytes, report)

    def _decode_unusual(
        self, headers: Headers, max_bytes: int, report: Report
    ) -> dict[str, JSONValue]:
        text = self._unusual_text(headers, max_bytes, report)
        if text is None:
            return {}
        try:
            decoded: JSONValue = _decode(text)
        # msgspec 0.22 raises RecursionError for 100,000 open brackets.
        except (RecursionError, ValueError) as error:
            return self._reject(None, "malformed", str(error), report)
        return self._checked(decoded, report)

    def _unusual_text(self, headers: Headers, max_bytes: int, report: Report) -> str | None:
        raw = raw_in(headers, self.header, max_bytes, report)
        try:
            return raw.decode() if isinstance(raw, bytes | bytearray) else raw
        except UnicodeDecodeError as error:
            self._reject(None, "malformed", str(error), report)
            return None

    def _checked(self, decoded: JSONValue, report: Report) -> dict[str, JSONValue]:
        if not isinstance(decoded, dict):
            return self._reject(None, "malformed", "not an object", report)
        values: dict[str, JSONValue] = {}
        for name, value in decoded.items():
            try:
                values[name] = to_plain(name, value)
            except InvalidValueError as error:
                self._reject(name, "illegal-value", str(error), report)
        return values

    def _reject(
        self, name: str | None, reason: Reason, detail: str, report: Report
    ) -> dict[str, JSONValue]:
        key = None if name is None else escape(name)
        report(Rejection("extract", self.header, key, reason, escape(detail)))
        return {}

    def strip(self, headers: dict[str, Any]) -> None:
        """Remove the header from `headers`, in place."""
        headers.pop(self.header, None)

    def __repr__(self) -> str:
        return f"JsonFormat(header={self.header!r})"
