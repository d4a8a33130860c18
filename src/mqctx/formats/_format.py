"""The protocol of a layout on the wire, and checks and readers for its headers."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from mqctx._core.rejection import Rejection, Report
from mqctx._core.values import JSONValue, type_name
from mqctx.errors import ConfigurationError

__all__ = [
    "FAILURE",
    "OWN_HEADERS",
    "PROPERTY",
    "REDRIVE",
    "Format",
    "Headers",
    "as_text",
    "check_header",
    "check_prefix",
    "header_label",
    "header_size",
    "headers_with",
    "members_of",
    "raw_in",
    "text_in",
]

Headers: TypeAlias = Mapping[str, Any]
"""The headers of a message: a client hands out values of any type."""

PROPERTY: Final = "property:"
"""The prefix of AMQP properties among the keys of headers: `property:correlation_id`."""

FRAMING: Final = 6
"""The bytes that AMQP adds to each header: key length, type, text length (4.2.5.5)."""

FAILURE: Final = "mqctx-failure"
REDRIVE: Final = "mqctx-redrive"
OWN_HEADERS: Final = frozenset((FAILURE, REDRIVE))
"""Headers of mqctx's own for dead letters. They belong to no format, whatever its prefix."""

_TEXT: Final = (str, bytes, bytearray)
"""The types of text in a header: streams hand out bytes."""
_ABSENT: Final = object()
# AMQP allows keys of 255 bytes (4.2.5.5), but pamqp, below aio-pika, cuts them at 128.
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
    """One layout of a context on the wire. Subclass it, and override only what differs."""

    @property
    def headers(self) -> Collection[str]:
        """The headers that the format writes; empty if their names depend on the values."""
        ...

    @property
    def header_prefix(self) -> str | None:
        """The prefix of all its headers, if their names depend on the values."""
        return None

    @property
    def owned_names(self) -> Collection[str]:
        """Names that this format alone writes, and that are read from it first. Mostly none."""
        return ()

    @property
    def properties(self) -> Collection[str]:
        """AMQP properties that the format uses besides headers, as `property:correlation_id`."""
        return ()

    @property
    def yields_plain_json(self) -> bool:
        """Whether `decode` returns a dict of exact JSON types, at most 32 levels deep.

        Its values are then not checked again. It is not changed either: `decode` may return the
        same dict for another message.
        """
        return False

    @property
    def decode_text(self) -> Callable[[str], Mapping[str, JSONValue]] | None:
        """A function from the text of the only header to the values, or None.

        A fast `decode` for usual text: it raises for all other text. Its result is remembered for
        the next message with the same text.
        """
        return None

    @property
    def join(self) -> "Join | None":
        """A function that joins our text in a header with text that others wrote there, or None.

        None if the header belongs to this format alone, so that anything in it is replaced.
        """
        return None

    @property
    def verifies(self) -> bool:
        """Whether `decode` returns only values of writers that this process trusts.

        Such a format is not given values that another format read unsigned.
        """
        return False

    def encode(
        self, values: Mapping[str, JSONValue]
    ) -> Mapping[str, str] | Callable[[int], Mapping[str, str]]:
        """Return the headers that carry `values`: printable ASCII; none for no values.

        Called once for a context. If each message has headers of its own, return a function: it
        is called for each message, with the bytes that the other headers leave of `max_bytes`.

        Raises:
            OversizeError: the values are over a limit of the format's own; its `names` are those
                to leave out.
        """
        ...

    def decode(self, headers: Headers, max_bytes: int, report: Report) -> Mapping[str, JSONValue]:
        """Return the values that `headers` carry, nothing where there are none.

        Report a header that cannot be read, or takes more than `max_bytes`. Text whose type is not
        written down (is "5" a number?) is an `UntypedText`.
        """
        ...

    def strip(self, headers: dict[str, Any]) -> None:
        """Remove this format's headers from `headers`, in place."""
        ...


Join: TypeAlias = Callable[[str, object, Collection[str], Report], str]
"""Takes our text, "" for none, and the value that the caller has given under that header.

Also the names in our text that count if both have one. Any other is of a message that was handled,
and older than what the caller has given.
"""


def header_label(format: Format) -> str:
    """Return the headers of a format as reports name them: `a, b` if several, `a*` for a prefix."""
    prefix = format.header_prefix
    return ", ".join(format.headers) if prefix is None else f"{prefix}*"


def header_size(header: str, text: str | bytes | bytearray) -> int:
    """Return the bytes that a header takes in a message, including AMQP's framing."""
    return _bytes_in(header) + _bytes_in(text) + FRAMING


def size_within(room: int, format: Format, headers: Headers) -> int:
    """Return how many bytes, of those in `room`, the headers take that a format has read."""
    prefix, taken = format.header_prefix, 0
    for header in format.headers if prefix is None else headers_with(prefix, headers):
        size = _size_in(headers, header)
        if taken + size <= room:  # a larger one was not read
            taken += size
    return taken


def _size_in(headers: Headers, header: str) -> int:
    raw = headers.get(header)
    return header_size(header, raw) if isinstance(raw, _TEXT) else 0


def headers_with(prefix: str, headers: Iterable[Any]) -> list[str]:
    """Return those of `headers` that begin with `prefix`, without those of mqctx's own.

    A client may hand out keys of other types, too.
    """
    texts = (each for each in headers if isinstance(each, str))
    return [each for each in texts if each.startswith(prefix) and each not in OWN_HEADERS]


def _bytes_in(text: str | bytes | bytearray) -> int:
    if isinstance(text, str) and not text.isascii():
        # kombu hands out lone surrogates for what is not UTF-8: to count them must not raise.
        return len(text.encode(errors="surrogatepass"))
    return len(text)


def check_header(header: object) -> None:
    """Raise `ConfigurationError` if a broker, a client or Celery would misread the header."""
    if not isinstance(header, str) or not _HEADER.fullmatch(header):
        raise ConfigurationError(
            f"header {header!r}: use a letter, then letters, digits, _ . or -, all ASCII, "
            "at most 64 in all"
        )
    _check_not_taken(header, header.lower())


def _check_not_taken(header: str, lower: str) -> None:
    # RabbitMQ keeps `x-` for itself since 3.13, and turns it into annotations on streams.
    if lower.startswith("x-") or lower in _TAKEN:
        raise ConfigurationError(
            f"header {header!r}: brokers, clients or Celery give that name a meaning of their own; "
            "choose another"
        )
    if lower in OWN_HEADERS:
        raise ConfigurationError(
            f"header {header!r}: mqctx itself keeps the history of dead letters there; choose "
            "another"
        )


def check_prefix(prefix: str) -> None:
    """Raise `ConfigurationError` if a header with that prefix could be misread."""
    check_header(prefix)
    # The name that a prefix is completed by comes from the context: "c" would write a `cc` one day.
    if any(taken.startswith(prefix.lower()) for taken in ("x-", *_TAKEN)):
        raise ConfigurationError(
            f"prefix {prefix!r}: brokers, clients or Celery give headers that begin so a meaning "
            "of their own; choose another, such as 'mqctx-'"
        )


def raw_in(
    headers: Headers, header: str, max_bytes: int, report: Report
) -> str | bytes | bytearray | None:
    """Return the text in a header, as bytes if a stream handed out bytes; None if absent.

    Report a value that is no text, or takes more than `max_bytes`, and return None for it.
    """
    # Not None, which a header may hold (AMQP's `V`): then it is there, and is no text.
    raw = headers.get(header, _ABSENT)
    if raw is _ABSENT:
        return None
    if not isinstance(raw, _TEXT):
        detail = f"expected text, got {type_name(type(raw))}"
        report(Rejection("extract", header, None, "wrong-type", detail))
        return None
    size = header_size(header, raw)
    if size > max_bytes:
        detail = f"{size} bytes, of max_bytes {max_bytes} are left"
        report(Rejection("extract", header, None, "too-large", detail))
        return None
    return raw


def text_in(headers: Headers, header: str, max_bytes: int, report: Report) -> str | None:
    """Return the text in a header as str (see `raw_in`); bytes that are not UTF-8 become U+FFFD."""
    raw = raw_in(headers, header, max_bytes, report)
    return None if raw is None else as_text(raw)


def members_of(text: str) -> list[str]:
    """Return the members of a list in a header, separated by commas, with empty ones left out.

    So HTTP has it (RFC 9110 5.6.1), and with it W3C Baggage and Trace Context.
    """
    return [*filter(None, (member.strip(" \t") for member in text.split(",")))]


def as_text(raw: str | bytes | bytearray) -> str:
    """Return the text of a header as str; bytes that are not UTF-8 become U+FFFD."""
    return raw if isinstance(raw, str) else raw.decode(errors="replace")
