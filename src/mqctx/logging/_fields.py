"""The active context in log records: what the logging libraries have in common."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final

from mqctx._core.name_filter import name_filter
from mqctx._core.store import current

REDACTED: Final = "***"

RECORD_NAMES: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "asctime",  # this and the message are set when the record is formatted
    "message",
    "_logger",  # these two are where structlog marks the records that are its own
    "_name",
}
"""Attributes that a `logging.LogRecord` has of its own, or may be given."""


class Fields:
    """What the active context gives to a log record."""

    __slots__ = ("_local_too", "_prefix", "_redacts", "_reserved", "_shows")

    def __init__(
        self,
        names: Iterable[str] | None,
        prefix: str,
        redact: Iterable[str],
        reserved: frozenset[str] = frozenset(),
    ) -> None:
        # A local value may be a secret, or nothing that a log can be made of: by request only.
        self._local_too = names is not None
        self._shows = name_filter("names", names)
        self._prefix = prefix
        self._redacts = name_filter("redact", redact)
        self._reserved = reserved

    def __call__(self) -> Iterator[tuple[str, Any, Any]]:
        """Iterate over the fields of now: name, what is shown, and the value itself."""
        context = current()
        shown = context if self._local_too else context.propagated()
        for name, value in shown.items():
            field = self._prefix + name
            if self._shows(name) and field not in self._reserved:
                yield field, REDACTED if self._redacts(name) else value, value
