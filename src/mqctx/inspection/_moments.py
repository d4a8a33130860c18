"""Times, in whatever unit they were written, as RFC 3339 in UTC."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

__all__ = ["Period", "moment"]

# Seconds since 1970 stay below this until the year 5138, milliseconds are above it since 1973.
_MOST_SECONDS: Final = 100_000_000_000
_REMEMBERED: Final = 1_024
_LONGEST: Final = 64
_NSERVICEBUS = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d):(\d{1,6}) Z")


class Period:
    """The first and the last of some times, as `moment` returns them; None without any."""

    __slots__ = ("_first", "_last")

    def __init__(self) -> None:
        self._first: str | None = None
        self._last: str | None = None

    def add(self, time: str | None) -> None:
        """Extend it to a time, if that is known."""
        if time is not None:
            bare = time[:-1]  # with the Z, a time without fraction would sort behind one with it
            if self._first is None or bare < self._first:
                self._first = bare
            if self._last is None or bare > self._last:
                self._last = bare

    def merge(self, other: "Period") -> None:
        """Extend it to another one."""
        self.add(other.first)
        self.add(other.last)

    @property
    def first(self) -> str | None:
        """The first of the times."""
        return self._first and f"{self._first}Z"

    @property
    def last(self) -> str | None:
        """The last of the times."""
        return self._last and f"{self._last}Z"


def moment(value: Any) -> str | None:
    """Return a time as text such as `2026-01-31T06:43:48Z`, None if it is none.

    A number counts as seconds, milliseconds, microseconds or nanoseconds since 1970, by its size.
    """
    try:
        return _READ.get(value.__class__, _none)(value)
    # OverflowError and OSError: which one a time beyond the calendar raises depends on the system.
    except (ValueError, OverflowError, OSError):
        return None


def _none(_: object) -> None:
    """Read what is no time: also a bool, which Python counts as a number."""


def _from_short_text(text: str) -> str | None:
    return _from_text(text) if len(text) <= _LONGEST else None


@lru_cache(_REMEMBERED)
def _from_text(text: str) -> str | None:
    text = text.strip()
    if text.isascii() and text.isdigit():
        return _from_number(int(text))
    if match := _NSERVICEBUS.fullmatch(text):
        text = f"{match[1]}T{match[2]}.{match[3]:0<6}+00:00"
    return _written(datetime.fromisoformat(_shortened(text)))


def _shortened(text: str) -> str:
    """Cut a fraction to the six digits that Python reads: .NET writes seven."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text, count=1)


def _from_number(number: float) -> str | None:
    if number <= 0:
        return None
    while number >= _MOST_SECONDS:
        number /= 1000
    return _written(datetime.fromtimestamp(number, UTC))


@lru_cache(_REMEMBERED)
def _written(when: datetime) -> str:
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    spec = "milliseconds" if when.microsecond else "seconds"
    return when.isoformat(timespec=spec).replace("+00:00", "Z")


_READ: Final[Mapping[type, Callable[[Any], str | None]]] = {
    str: _from_short_text,
    int: _from_number,
    float: _from_number,
    datetime: _written,
}
