"""The default layout: one header with a compact JSON object, all ASCII."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from mqctx.formats import check_header, raw_in
from mqctx.rejection import Rejection, Report
from mqctx.values import Plain, escape

__all__ = ["JsonFormat", "from_json", "to_json"]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])
_any_decoder: msgspec.json.Decoder[Plain] = msgspec.json.Decoder()


def to_json(value: object) -> str:
    """Return a plain value, or a mapping of them, as compact JSON in ASCII."""
    text = _encoder.encode(value).decode()
    # msgspec writes UTF-8 and has no option to escape.
    return text if text.isascii() else json.dumps(value, separators=(",", ":"))


def from_json(text: str) -> Plain:
    """Return what JSON says; raise `ValueError` if it is none."""
    try:
        return _any_decoder.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


class JsonFormat:
    """One header with a compact JSON object (RFC 8259), what is not ASCII escaped.

    Args:
        header: The name of the header.

    Raises:
        ConfigurationError: a broker, a client or Celery gives that header another meaning.
    """

    __slots__ = ("header",)

    names = ()
    properties = ()

    def __init__(self, header: str = "mqctx") -> None:
        check_header(header)
        self.header = header

    def encode(self, values: Mapping[str, Plain]) -> Mapping[str, str]:
        """Return the one header that carries `values`, or none if there are no values."""
        return {self.header: to_json(values)} if values else {}

    def decode(
        self, headers: Mapping[str, Any], max_bytes: int, report: Report
    ) -> Mapping[str, Plain]:
        """Return the values in the header. Streams may hand it out as bytes; a bytearray too."""
        raw = raw_in(headers, self.header, max_bytes, report)
        if raw is None:
            return {}
        try:
            return _decoder.decode(raw)
        except RecursionError:
            detail = "nested too deep"
        except ValueError as error:
            detail = escape(str(error))
        report(Rejection("extract", self.header, None, "malformed", detail))
        return {}

    def strip(self, headers: dict[str, Any]) -> None:
        """Remove the header from `headers`, in place."""
        headers.pop(self.header, None)

    def __repr__(self) -> str:
        return f"JsonFormat(header={self.header!r})"
