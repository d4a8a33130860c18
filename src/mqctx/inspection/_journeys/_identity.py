"""What tells messages apart, and whose they are: ids, body and the headers of a context."""

from collections.abc import Mapping
from typing import Any, Final

from mqctx.inspection._contexts import ContextReader, plain_of
from mqctx.inspection._journeys._model import Identity

__all__ = ["Contexts", "identity_of"]

_CONTEXT: Final = frozenset(("mqctx", "traceparent", "tracestate", "baggage"))
_CONTEXT_PREFIX: Final = "mqctx-"
_OURS_BUT_NO_CONTEXT: Final = frozenset(("mqctx-failure", "mqctx-redrive"))
# The broker writes these, changes them, or takes them away, from one event to the next.
_BROKERS: Final = ("x-death", "x-first-death-", "x-last-death-", "x-opt-", "x-stream-")
_BROKERS_OWN: Final = frozenset(
    ("x-delivery-count", "x-acquired-count", "CC", "BCC", "timestamp_in_ms", "x-routed-by")
)
_MOST_CACHED: Final = 10_000

ContextHeaders = tuple[tuple[str, Any], ...]


def context_headers(headers: Mapping[str, Any]) -> ContextHeaders:
    """Return the headers that carry a context, in an order that does not depend on theirs."""
    return tuple(sorted((k, as_text(v)) for k, v in headers.items() if _is_of_context(k)))


def identity_of(
    body: bytes,
    message_id: str | None,
    correlation_id: str | None,
    headers: Mapping[str, Any],
    of_context: ContextHeaders,
    others: object = None,
) -> Identity:
    """Return the identity of a message; `others` are what else its publisher wrote.

    Built-in hashes do: they are compared in this process alone, and nobody can guess their seed.
    """
    key = hash((body, message_id, correlation_id, of_context))
    # `repr`, since values of headers may be lists and tables, which have no hash.
    own = sorted((k, repr(v)) for k, v in headers.items() if not _is_brokers(k))
    is_unique = bool(message_id or correlation_id or of_context)
    return Identity(key, hash((key, repr(others), tuple(own))), is_unique)


class Contexts:
    """Read the contexts of messages, each text once: a delivery has those of its publish."""

    def __init__(self) -> None:
        self._read = ContextReader().read
        self._cached: dict[ContextHeaders, dict[str, Any]] = {}

    def read(self, of_context: ContextHeaders) -> dict[str, Any]:
        """Return the context in these headers, as plain JSON. It is shared: do not change it."""
        if not of_context:
            return {}
        found = self._cached.get(of_context)
        if found is None:
            found = plain_of(self._read(dict(of_context)).context)
            if len(self._cached) >= _MOST_CACHED:
                self._cached.clear()
            self._cached[of_context] = found
        return found


def _is_of_context(header: str) -> bool:
    if header in _CONTEXT:
        return True
    return header.startswith(_CONTEXT_PREFIX) and header not in _OURS_BUT_NO_CONTEXT


def _is_brokers(header: str) -> bool:
    return header in _BROKERS_OWN or header.startswith(_BROKERS)


def as_text(value: Any) -> str:
    """Return a header's value as text: streams hand out bytes for what was text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
