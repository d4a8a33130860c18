"""Layouts of a context on the wire, and what they have in common."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from mqctx.errors import ConfigurationError
from mqctx.rejection import Report
from mqctx.values import Plain

__all__ = ["Format", "check_header"]

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
# Names to which a broker, a client or Celery gives a meaning of its own. Celery: the fields of
# its message protocol 2 (docs.celeryq.dev, "Message Protocol") and of its stamping.
_TAKEN = frozenset(
    (
        *("cc", "bcc", "compression", "redelivered", "from"),
        *("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries"),
        *("timelimit", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin"),
        *("replaced_task_nesting", "ignore_result", "stamped_headers", "stamps"),
        *("meth", "args", "kwargs", "reply_to", "correlation_id"),
    )
)


class Format(Protocol):
    """One layout of a context on the wire."""

    @property
    def header(self) -> str:
        """The header that the format writes, or what its headers have in common; for reports."""
        ...

    def encode(self, values: Mapping[str, Plain]) -> Mapping[str, str]:
        """Return the headers that carry `values`: ASCII keys and ASCII text; none for no values."""
        ...

    def decode(
        self, headers: Mapping[str, Any], max_bytes: int, report: Report
    ) -> Mapping[str, Plain]:
        """Return the values that `headers` carry, nothing where there are none.

        What cannot be read, and what takes more than `max_bytes`, is given to `report`.
        """
        ...

    def strip(self, headers: dict[str, Any]) -> None:
        """Remove this format's headers from `headers`, in place."""
        ...


def check_header(header: str) -> None:
    """Raise `ConfigurationError` if a broker, a client or Celery would misread that header."""
    if not _HEADER.fullmatch(header):
        raise ConfigurationError(
            f"header {header!r}: use a letter, then letters, digits, _ . or -, all ASCII, "
            "at most 64 in all"
        )
    if header.lower().startswith("x-") or header.lower() in _TAKEN:
        raise ConfigurationError(
            f"header {header!r}: brokers, clients or Celery give that name a meaning of their own; "
            "choose another"
        )
