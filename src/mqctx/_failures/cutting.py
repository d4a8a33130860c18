"""Cut text to a number of bytes, as it stands in ASCII JSON."""

from bisect import bisect
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

_MARK: Final = "..."
# Those with an escape of two characters. All other control characters take six.
_SHORT: Final = frozenset('"\\\n\r\t\b\f')


def json_bytes(text: str) -> int:
    """Return how many bytes `text` takes in ASCII JSON, without the quotes."""
    if text.isascii() and text.isprintable():
        return len(text) + text.count('"') + text.count("\\")
    return sum(map(_bytes_of, text))


def _bytes_of(character: str) -> int:
    if character in _SHORT:
        return 2
    if " " <= character <= "~":
        return 1
    # A character beyond 16 bits takes two escapes of six, a surrogate pair (RFC 8259 7).
    return 6 if character <= "\uffff" else 12


def cut(text: str, most: int, *, keep_end: bool = False) -> str:
    """Return `text`, or its beginning (or end) with a mark where it was cut, in `most` bytes.

    A lone surrogate, which UTF-8 cannot encode, becomes its escape.
    """
    # Each character takes a byte at least: no need to look at megabytes.
    near = text[-most - 1 :] if keep_end else text[: most + 1]
    near = near.encode(errors="backslashreplace").decode()
    if json_bytes(near) <= most:
        return near
    room = most - len(_MARK)
    if keep_end:
        return _MARK + near[len(near) - _fitting(reversed(near), room) :]
    return near[: _fitting(near, room)] + _MARK


def _fitting(text: Iterable[str], room: int) -> int:
    """Return how many characters fit, whole: an escape that is cut in two is no JSON."""
    return bisect([*accumulate(map(_bytes_of, text))], room)
