"""The properties of a message as bytes, changed without touching what is left as it is.

A client that decodes a header and encodes it again changes it: pika sends the number 1.5 on as 1.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from struct import Struct
from typing import Final

from .field_table import (
    UNREADABLE,
    BrokenTableError,
    Unreadable,
    Value,
    as_text,
    as_time,
    decode_table,
    end_of_value,
    entries,
)

_FLAGS: Final = Struct(">H")
_SIZE: Final = Struct(">I")
_TIME: Final = Struct(">Q")
# In the order in which they stand, and in which the highest flag is the first.
_LAYOUT: Final = {
    "content_type": "text",
    "content_encoding": "text",
    "headers": "table",
    "delivery_mode": "octet",
    "priority": "octet",
    "correlation_id": "text",
    "reply_to": "text",
    "expiration": "text",
    "message_id": "text",
    "timestamp": "time",
    "type": "text",
    "user_id": "text",
    "app_id": "text",
    "cluster_id": "text",
}
_BIT: Final = {name: 1 << (15 - index) for index, name in enumerate(_LAYOUT)}


class ContentHeader:
    """The properties of one message: `raw` is what a header frame has after the body's size.

    It never raises for what it reads: a property that cannot be read is missing, and so are those
    behind it.
    """

    __slots__ = ("_spans", "raw")

    def __init__(self, raw: bytes = b"\0\0") -> None:
        self.raw: bytes = raw
        self._spans = dict(_spans(raw))

    def __repr__(self) -> str:
        return f"ContentHeader({self.raw!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContentHeader) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the properties that are there."""
        return tuple(self._spans)

    @property
    def headers(self) -> dict[str, Value]:
        """The table of headers, as `decode_table` returns it."""
        if span := self._spans.get("headers"):
            return decode_table(self.raw, span[0] + 4, span[1])
        cut_short = self._flags & _BIT["headers"]
        return {UNREADABLE: Unreadable("the table goes beyond the header")} if cut_short else {}

    def split_headers(self, name: str) -> tuple[bytes, bytes]:
        """Return the value of one header, behind its type, and the entries of all other headers.

        Both are empty where there is nothing. `decode_value` and `decode_table` read them.
        """
        start, end = self._spans.get("headers", (-4, 0))
        raw, start, key = self.raw, start + 4, bytes([len(name)]) + name.encode()
        at = raw.find(key, start, end)
        # Unless whole entries come before it, this is within one of them.
        while at >= 0 and not _are_entries(raw[start:at]):
            at = raw.find(key, at + 1, end)
        if at >= 0:
            with suppress(BrokenTableError):
                value = at + len(key)
                stop = end_of_value(raw, value, end, at)
                return raw[value:stop], raw[start:at] + raw[stop:end]
        return b"", raw[start:end]

    def get(self, name: str) -> Value:
        """Return a property, None if it is not there. `headers` has the table."""
        if name not in self._spans:
            return None
        start, end = self._spans[name]
        layout = _LAYOUT[name]
        # A short string has one byte for its length, a table has four (AMQP 0-9-1, 4.2.5.3 and
        # 4.2.5.5).
        if layout == "text":
            return as_text(self.raw[start + 1 : end])
        if layout == "time":
            return as_time(_TIME.unpack_from(self.raw, start)[0])
        return self.headers if layout == "table" else self.raw[start]

    def without(self, *names: str) -> "ContentHeader":
        """Return one that lacks these properties."""
        header = self
        for name in names:
            if span := header._spans.get(name):
                header = header._with_flags(header._flags & ~_BIT[name], *span, b"")
        return header

    def without_headers(self, names: Collection[str]) -> "ContentHeader":
        """Return one whose table of headers lacks these keys."""
        wanted = {name.encode() for name in names}
        header = self
        # From the end, so that what comes before stays where it was.
        for key, start, end in reversed(list(self._keys())):
            if key in wanted:
                header = header._with_table_part(start, end, b"")
        return header

    def with_header(self, name: str, value: str | Sequence[str]) -> "ContentHeader":
        """Return one with a header of text, or of several, in the place of one of this name.

        If there is none, it comes last. Lone surrogates stand for bytes that are not UTF-8.
        """
        key = name.encode()
        entry = bytes([len(key)]) + key + _encoded(value)
        header = self._with_table()
        places = [(start, end) for found, start, end in header._keys() if found == key]
        # RabbitMQ passes on a key that comes twice, and clients differ in which one they show.
        for start, end in reversed(places[1:]):
            header = header._with_table_part(start, end, b"")
        at = header._spans["headers"][1]
        start, end = next(iter(places), (at, at))
        return header._with_table_part(start, end, entry)

    def with_sorted_headers(self) -> "ContentHeader":
        """Return one whose table of headers is in the order of its keys, as RabbitMQ writes it."""
        keys = list(self._keys())
        if not keys:
            return self
        table = b"".join(self.raw[start:end] for _, start, end in sorted(keys))
        return self._with_table_part(keys[0][1], keys[-1][2], table)

    @property
    def _flags(self) -> int:
        return int.from_bytes(self.raw[:2])

    def _keys(self) -> Iterator[tuple[bytes, int, int]]:
        start, end = self._spans.get("headers", (-4, 0))
        with suppress(BrokenTableError):
            for entry in entries(self.raw, start + 4, end):
                yield entry.key, entry.start, entry.end

    def _with_table(self) -> "ContentHeader":
        """Return one that has a table of headers, an empty one if there is none."""
        if "headers" in self._spans:
            return self
        # Properties have no names on the wire: their order, and the flags, say which is which.
        before = [self._spans[name][1] for name in _LAYOUT_BEFORE_HEADERS if name in self._spans]
        at = max(before, default=_end_of_flags(self.raw))
        return self._with_flags(self._flags | _BIT["headers"], at, at, _SIZE.pack(0))

    def _with_flags(self, flags: int, start: int, end: int, part: bytes) -> "ContentHeader":
        rest = self.raw[_FLAGS.size : start] + part + self.raw[end:]
        return ContentHeader(_FLAGS.pack(flags) + rest)

    def _with_table_part(self, start: int, end: int, part: bytes) -> "ContentHeader":
        at, stop = self._spans["headers"]
        size = _SIZE.pack(stop - at - 4 - (end - start) + len(part))
        before = self.raw[:at] + size + self.raw[at + 4 : start]
        return ContentHeader(before + part + self.raw[end:])


def _encoded(value: str | Sequence[str]) -> bytes:
    if isinstance(value, str):
        text = value.encode(errors="surrogateescape")
        return b"S" + _SIZE.pack(len(text)) + text
    array = b"".join(map(_encoded, value))
    return b"A" + _SIZE.pack(len(array)) + array


@lru_cache(4_096)
def _are_entries(data: bytes) -> bool:
    """Tell whether these bytes are entries of a table, and nothing else."""
    try:
        return all(entries(data, 0, len(data)))
    except BrokenTableError:
        return False


_LAYOUT_BEFORE_HEADERS: Final = ("content_type", "content_encoding")


def _end_of_flags(raw: bytes) -> int:
    """Return where the first property starts. The lowest bit says that more flags follow."""
    # So AMQP 0-9-1 has it (4.2.6.1), though its own 14 properties need no more than two bytes.
    at = 0
    while at + 2 <= len(raw) and raw[at + 1] & 1:
        at += 2
    return at + 2


def _spans(raw: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield where each property stands, up to the first that goes beyond the end."""
    at = _end_of_flags(raw)
    for name, layout in _layout_of(int.from_bytes(raw[:2])):
        end = _end_of(layout, raw, at)
        if end > len(raw):
            return  # where one ends nowhere, the next one starts nowhere
        yield name, (at, end)
        at = end


@lru_cache(maxsize=64)
def _layout_of(flags: int) -> tuple[tuple[str, str], ...]:
    """Return name and layout of each property that is there."""
    return tuple(each for each in _LAYOUT.items() if flags & _BIT[each[0]])


def _end_of(layout: str, raw: bytes, at: int) -> int:
    if layout == "text":
        return at + 1 + int.from_bytes(raw[at : at + 1])
    if layout == "table":
        return at + 4 + int.from_bytes(raw[at : at + 4])
    return at + (8 if layout == "time" else 1)
