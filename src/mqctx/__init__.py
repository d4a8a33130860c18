"""Your request context, on the other side of the queue."""

from mqctx._core.active import bind, run, scope, wrap
from mqctx._core.context import Context
from mqctx._core.rejection import Rejection
from mqctx._core.scope import Scope
from mqctx._core.store import current
from mqctx._core.variable import Variable
from mqctx._propagation.propagator import Propagator, configure, extract, inject
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
    "extract",
    "inject",
    "run",
    "scope",
    "wrap",
]

__version__: str


def __getattr__(name: str) -> str:
    # To ask for it takes as long as to import all of mqctx.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415 - see above

    return version("mqctx")
