"""Layouts of a context on the wire, and the tools to write another one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mqctx._core.rejection import Rejection, Report
from mqctx._core.values import JSONValue, UntypedText
from mqctx._lazy import names_of
from mqctx.formats._format import (
    PROPERTY,
    Format,
    Headers,
    check_header,
    check_prefix,
    header_size,
    raw_in,
    text_in,
)

if TYPE_CHECKING:
    from mqctx.formats.baggage import BaggageFormat
    from mqctx.formats.flat import CORRELATION_ID, MESSAGE_ID, FlatFormat
    from mqctx.formats.json import JsonFormat
    from mqctx.formats.signed import SignedFormat
    from mqctx.formats.trace_context import TraceContextFormat, start_trace

__all__ = [
    "CORRELATION_ID",
    "MESSAGE_ID",
    "PROPERTY",
    "BaggageFormat",
    "FlatFormat",
    "Format",
    "Headers",
    "JSONValue",
    "JsonFormat",
    "Rejection",
    "Report",
    "SignedFormat",
    "TraceContextFormat",
    "UntypedText",
    "check_header",
    "check_prefix",
    "header_size",
    "raw_in",
    "start_trace",
    "text_in",
]

# A format that is not in use is not loaded; SignedFormat needs an extra.
__getattr__: Callable[[str], Any] = names_of(
    __name__,
    __package__,
    {
        "BaggageFormat": "baggage",
        "CORRELATION_ID": "flat",
        "FlatFormat": "flat",
        "JsonFormat": "json",
        "MESSAGE_ID": "flat",
        "SignedFormat": "signed",
        "TraceContextFormat": "trace_context",
        "start_trace": "trace_context",
    },
)


def __dir__() -> list[str]:
    return __all__
