"""Field tables of AMQP 0-9-1, read from bytes that nobody vouches for.

The types are those that RabbitMQ knows (https://www.rabbitmq.com/amqp-0-9-1-errata#section_3), and
`U`, which only the standard has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

MAX_DEPTH: Final = 100
"""Tables and arrays that are nested deeper are shown by their size: JSON readers have limits."""

UNREADABLE: Final = "(unreadable)"
"""The key that stands for what follows in a table once it cannot be read."""

_FIXED: Final = {
    kind.encode(): Struct(f">{layout}")
    for kind, layout in {
        "t": "?", "b": "b", "B": "B", "s": "h", "U": "h", "u": "H", "I": "i", "i": "I",
        # Signed both, whatever the standard says: so RabbitMQ reads them.
        "l": "q", "L": "q",
        "f": "f", "d": "d", "D": "Bi", "T": "Q", "V": "",
    }.items()
}  # fmt: skip
_SIZED: Final = frozenset((b"S", b"x", b"A", b"F"))
_REMEMBERED: Final = 256
_LONGEST_REMEMBERED: Final = 2_048
"""The most bytes of a nested value that is remembered: many messages have the same `x-death`."""
_UNITS: Final = (("milliseconds", 1_000), ("microseconds", 1_000_000), ("nanoseconds", 10**9))
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999, beyond which no datetime goes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The text that is shown in place of a value that cannot be read."""

    text: str

    def __str__(self) -> str:
        return self.text


_Plain: TypeAlias = bool | int | float | Decimal | str | bytes | datetime | Unreadable
Value: TypeAlias = "_Plain | list[Value] | dict[str, Value] | None"


class Entry(NamedTuple):
    """A key of a table and where it stands: its name from `start`, its value's type at `value`."""

    key: bytes
    start: int
    value: int
    end: int


class BrokenTableError(ValueError):
    """A table cannot be read from `at` on."""

    def __init__(self, at: int) -> None:
        super().__init__(f"the table cannot be read from byte {at} on")
        self.at = at


def entries(data: bytes, start: int, end: int) -> Iterator[Entry]:
    """Yield the entries of the table between two offsets, without looking into its values.

    Raises:
        BrokenTableError: the rest is no table. The entries before it have been yielded.
    """
    at = start
    while at < end:
        value = at + 1 + data[at]
        stop = end_of_value(data, value, end, at)
        yield Entry(data[at + 1 : value], at, value, stop)
        at = stop


def decode_table(data: bytes, start: int, end: int, depth: int = MAX_DEPTH) -> dict[str, Value]:
    """Return what the table between two offsets holds; of equal keys the last, as clients do.

    It never raises: what cannot be read is `Unreadable`. Tables and arrays in it may be those of
    another table: leave them as they are.
    """
    table: dict[str, Value] = {}
    # Nothing is decoded twice: the length of each value says where the next key is, read or not.
    at = start
    try:
        while at < end:
            value = at + 1 + data[at]
            stop = end_of_value(data, value, end, at)
            key = data[at + 1 : value].decode(errors="backslashreplace")
            table[key] = decode_value(data, value, stop, depth)
            at = stop
    except BrokenTableError as error:
        table[UNREADABLE] = _rest(data, error.at, end)
    return table


def as_text(data: bytes) -> str | bytes:
    """Return a string as text, or as it is if it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def as_time(seconds: int) -> datetime | Unreadable:
    """Return a timestamp, which AMQP counts in seconds; many senders count in other units."""
    if seconds <= _LAST_SECOND:
        return datetime.fromtimestamp(seconds, UTC)
    # All of 64 bits are a time if they are nanoseconds.
    unit, a_second = next(each for each in _UNITS if seconds // each[1] <= _LAST_SECOND)
    meant = datetime.fromtimestamp(seconds // a_second, UTC)
    return Unreadable(f"timestamp {seconds} ({meant:%Y-%m-%dT%H:%M:%SZ} if in {unit})")


def end_of_value(data: bytes, at: int, end: int, entry: int) -> int:
    """Return where the value ends whose type is at `at`.

    Raises:
        BrokenTableError: there is no such value. It names where its `entry` begins.
    """
    kind = data[at : at + 1]
    if kind in _SIZED:
        stop = at + 5 + int.from_bytes(data[at + 1 : at + 5])
    else:  # a type that is unknown ends nowhere
        stop = at + 1 + (_FIXED[kind].size if kind in _FIXED else end)
    if stop > end:
        raise BrokenTableError(entry)
    return stop


def decode_value(data: bytes, at: int, end: int, depth: int = MAX_DEPTH) -> Value:
    """Return the value whose type is at `at`, and which is known to end at `end`."""
    kind = data[at : at + 1]
    if kind == b"S":
        return as_text(data[at + 5 : end])
    if kind in _FIXED:
        return _decode_fixed(kind, _FIXED[kind].unpack_from(data, at + 1))
    inner = data[at + 5 : end]
    if kind == b"x":
        return inner
    decode = _decode_again if len(inner) <= _LONGEST_REMEMBERED else _decode_nested
    return decode(kind, inner, depth)


def _decode_fixed(kind: bytes, fields: tuple[int, ...]) -> Value:
    if kind == b"V":
        return None
    if kind == b"T":
        return as_time(fields[0])
    if kind == b"D":
        places, digits = fields
        return Decimal(digits).scaleb(-places)
    return fields[0]


def _decode_nested(kind: bytes, data: bytes, depth: int) -> Value:
    if not depth:
        return Unreadable(f"{len(data)} bytes, nested more than {MAX_DEPTH} deep")
    if kind == b"F":
        return decode_table(data, 0, len(data), depth - 1)
    return _decode_array(data, depth - 1)


_decode_again = lru_cache(_REMEMBERED)(_decode_nested)


def _decode_array(data: bytes, depth: int) -> Value:
    array: list[Value] = []
    at, end = 0, len(data)
    try:
        while at < end:
            stop = end_of_value(data, at, end, at)
            array.append(decode_value(data, at, stop, depth))
            at = stop
    except BrokenTableError:
        array.append(_rest(data, at, end))
    return array


def _rest(data: bytes, at: int, end: int) -> Unreadable:
    shown = data[at : min(end, at + 16)].hex()
    return Unreadable(f"{end - at} bytes that cannot be read: {shown}")
