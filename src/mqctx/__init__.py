"""Your request context, on the other side of the queue."""

from mqctx._core.context import Context, Scope, bind, current, run, scope, wrap
from mqctx._core.rejection import Rejection
from mqctx._core.variable import Variable
from mqctx._propagation.propagator import Propagator, configure
from mqctx.errors import (
    ConfigurationError,
    HandlerError,
    HeadersError,
    InactiveError,
    InvalidNameError,
    InvalidValueError,
    MissingValueError,
    MqctxError,
    OversizeError,
    ScopeError,
)
from mqctx.formats import Format
from mqctx.formats.json import JsonFormat

__all__ = [
    "ConfigurationError",
    "Context",
    "Format",
    "HandlerError",
    "HeadersError",
    "InactiveError",
    "InvalidNameError",
    "InvalidValueError",
    "JsonFormat",
    "MissingValueError",
    "MqctxError",
    "OversizeError",
    "Propagator",
    "Rejection",
    "Scope",
    "ScopeError",
    "Variable",
    "bind",
    "configure",
    "current",
    "run",
    "scope",
    "wrap",
]
