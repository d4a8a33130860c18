"""Tell messages apart, and find their request: ids, body and the headers of a context."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from mqctx.formats import TraceContextFormat
from mqctx.inspection._contexts import ContextReader, plain_of

__all__ = ["Contexts", "context_headers", "publishers_own"]

_TRACE: Final = frozenset(TraceContextFormat.headers)
_CONTEXT: Final = frozenset(("mqctx", "baggage", *_TRACE))
_CONTEXT_PREFIX: Final = "mqctx-"
_OURS_BUT_NO_CONTEXT: Final = frozenset(("mqctx-failure", "mqctx-redrive"))
# The broker writes these, changes them, or takes them away, from one event to the next.
_BROKERS: Final = ("x-death", "x-first-death-", "x-last-death-", "x-opt-", "x-stream-")
_BROKERS_OWN: Final = frozenset(
    ("x-delivery-count", "x-acquired-count", "CC", "BCC", "timestamp_in_ms", "x-routed-by")
)
_MOST_CACHED: Final = 4_096
_MOST_BYTES: Final = 130_000

ContextHeaders = tuple[tuple[str, str], ...]


def context_headers(headers: Mapping[str, Any]) -> ContextHeaders:
    """Return the headers that carry a context, in an order that does not depend on theirs."""
    return tuple(sorted((k, as_text(v)) for k, v in headers.items() if _is_of_context(k)))


def publishers_own(headers: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return all headers that the publisher wrote, in an order that does not depend on theirs."""
    # `repr`, since values of headers may be lists and tables, which have no hash.
    return tuple(sorted((k, repr(v)) for k, v in headers.items() if not _is_brokers(k)))


class Contexts:
    """Read the contexts of messages.

    Values that several messages have in common are read once; the trace is another one in each.
    """

    def __init__(self) -> None:
        self._reader = ContextReader()
        self._trace = TraceContextFormat()
        self._shared = lru_cache(_MOST_CACHED)(self._read)

    def read(self, of_context: ContextHeaders) -> dict[str, Any]:
        """Return the context in these headers, as plain JSON."""
        trace = {name: text for name, text in of_context if name in _TRACE}
        if not trace:
            return self._shared(of_context)
        values = self._shared(tuple(each for each in of_context if each[0] not in _TRACE))
        # Its format owns its names: what another one says of them does not count.
        return {**values, **self._trace.decode(trace, _MOST_BYTES, _ignored)}

    def _read(self, of_context: ContextHeaders) -> dict[str, Any]:
        return plain_of(self._reader.read(dict(of_context)).context) if of_context else {}


def _ignored(_: object) -> None:
    """Take what a service would not restore."""


def _is_of_context(header: str) -> bool:
    if header in _CONTEXT:
        return True
    return header.startswith(_CONTEXT_PREFIX) and header not in _OURS_BUT_NO_CONTEXT


def _is_brokers(header: str) -> bool:
    return header in _BROKERS_OWN or header.startswith(_BROKERS)


def as_text(value: Any) -> str:
    """Return a header's value as text: streams hand out bytes for what was text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
