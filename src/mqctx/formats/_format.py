"""Layouts of a context on the wire, and what they have in common."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol, TypeAlias, cast

from mqctx._core.rejection import Rejection, Report
from mqctx._core.values import JSONValue, type_name
from mqctx.errors import ConfigurationError

__all__ = [
    "PROPERTY",
    "Format",
    "as_text",
    "check_header",
    "check_prefix",
    "header_label",
    "header_size",
    "raw_in",
    "text_in",
]

PROPERTY: Final = "property:"
"""What the keys of AMQP properties among headers begin with: `property:correlation_id`."""

FRAMING: Final = 6
"""Bytes that AMQP adds to each header: length of the key, type, length of the text (4.2.5.5)."""

_ABSENT: Final = object()
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
    """One layout of a context on the wire: subclass it, and leave out what is as usual."""

    @property
    def headers(self) -> Collection[str]:
        """The headers that the format writes. None where their names depend on the values."""
        ...

    @property
    def header_prefix(self) -> str | None:
        """What all its headers begin with, where their names depend on the values."""
        return None

    @property
    def owned_names(self) -> Collection[str]:
        """Names that this format alone writes, and reads before all others. Mostly none."""
        return ()

    @property
    def properties(self) -> Collection[str]:
        """AMQP properties that it uses besides headers, as `property:correlation_id`."""
        return ()

    @property
    def yields_plain_json(self) -> bool:
        """Whether `decode` gives a dict of exact JSON types, not deeper than 32 levels.

        Then nobody looks at its values again, nor changes it: `decode` may give it once more.
        """
        return False

    @property
    def decode_text(self) -> Callable[[str], Mapping[str, JSONValue]] | None:
        """Return the values in the text of its one header, where nothing else counts; or None.

        The short way to what `decode` gives for usual text: it raises for all other. What it gave
        is remembered for the next message with the same text.
        """
        return None

    @property
    def join(self) -> "Join | None":
        """Joins what `encode` wrote into a header with what others have written there; or None.

        None where the header is this format's alone, and anything in it is replaced.
        """
        return None

    @property
    def verifies(self) -> bool:
        """Whether what `decode` gives was written by somebody whom this process trusts.

        Values that others read unsigned are left out of what such a format encodes.
        """
        return False

    def encode(
        self, values: Mapping[str, JSONValue]
    ) -> Mapping[str, str] | Callable[[int], Mapping[str, str]]:
        """Return the headers that carry `values`: printable ASCII; none for no values.

        Called once for a context. Where each message has headers of its own, return a function:
        it is called for each message, with the bytes that the other headers leave of `max_bytes`.

        Raises:
            OversizeError: a limit of the format's own; its `names` are those of the values to
                leave out.
        """
        ...

    def decode(
        self, headers: Mapping[str, Any], max_bytes: int, report: Report
    ) -> Mapping[str, JSONValue]:
        """Return the values that `headers` carry, nothing where there are none.

        What cannot be read, and what takes more than `max_bytes`, is given to `report`. Text of
        which nobody said that it is no number is a `UntypedText`.
        """
        ...

    def strip(self, headers: dict[str, Any]) -> None:
        """Remove this format's headers from `headers`, in place."""
        ...


Join: TypeAlias = Callable[[str, object, Report], str]
"""Takes our text, "" for none, and what else a message is given under that header."""


def header_label(format: Format) -> str:
    """Return the headers of a format as reports name them: `a, b` if several, `a*` for a prefix."""
    prefix = format.header_prefix
    return ", ".join(format.headers) if prefix is None else f"{prefix}*"


def header_size(header: str, text: str | bytes | bytearray) -> int:
    """Return how many bytes a header takes in a message, with what AMQP adds to it."""
    return _bytes_in(header) + _bytes_in(text) + FRAMING


def size_within(room: int, format: Format, headers: Mapping[str, Any]) -> int:
    """Return how many of the bytes in `room` are taken by the headers that a format has read."""
    prefix, taken = format.header_prefix, 0
    ours = format.headers
    if prefix is not None:
        ours = [
            each
            for each in cast("Mapping[object, Any]", headers)
            if isinstance(each, str) and each.startswith(prefix)
        ]
    for header in ours:
        raw = headers.get(header)
        size = header_size(header, raw) if isinstance(raw, str | bytes | bytearray) else 0
        if taken + size <= room:  # a larger one was not read
            taken += size
    return taken


def _bytes_in(text: str | bytes | bytearray) -> int:
    if isinstance(text, str) and not text.isascii():
        return len(text.encode(errors="surrogatepass"))
    return len(text)


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


def check_prefix(prefix: str) -> None:
    """Raise `ConfigurationError` if a header that begins so could be one to misread."""
    check_header(prefix)
    if any(taken.startswith(prefix.lower()) for taken in ("x-", *_TAKEN)):
        raise ConfigurationError(
            f"prefix {prefix!r}: brokers, clients or Celery give headers that begin so a meaning "
            "of their own; choose another, such as 'mqctx-'"
        )


def raw_in(
    headers: Mapping[str, Any], header: str, max_bytes: int, report: Report
) -> str | bytes | bytearray | None:
    """Return the text in a header, as bytes where a stream handed out bytes; None if absent.

    What is no text, or takes more than `max_bytes`, is given to `report` and None.
    """
    raw = headers.get(header, _ABSENT)
    if raw is _ABSENT:
        return None
    if not isinstance(raw, str | bytes | bytearray):
        detail = f"expected text, got {type_name(type(raw))}"
        report(Rejection("extract", header, None, "wrong-type", detail))
        return None
    size = header_size(header, raw)
    if size > max_bytes:
        detail = f"{size} bytes, of max_bytes {max_bytes} are left"
        report(Rejection("extract", header, None, "too-large", detail))
        return None
    return raw


def text_in(headers: Mapping[str, Any], header: str, max_bytes: int, report: Report) -> str | None:
    """Return what `raw_in` does as str; what is not UTF-8 becomes U+FFFD."""
    raw = raw_in(headers, header, max_bytes, report)
    return None if raw is None else as_text(raw)


def as_text(raw: str | bytes | bytearray) -> str:
    """Return the text of a header as str; what is not UTF-8 becomes U+FFFD."""
    return raw if isinstance(raw, str) else raw.decode(errors="replace")
