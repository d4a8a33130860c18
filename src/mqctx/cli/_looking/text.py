"""Text of strangers, made fit for a terminal."""

from collections.abc import Iterable
from typing import Any, Protocol

from mqctx.inspection._where import as_text

__all__ = ["clocks", "counted", "escaped", "have_days", "listed", "number", "shown"]


def escaped(text: str) -> str:
    """Return `text` with all unprintable characters escaped: colours, bells, new lines.

    Characters that change the direction of text count as unprintable.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    # Without its quotes, `ascii` of a single character is its escape.
    return character if character.isprintable() else ascii(character)[1:-1]


def listed(names: Iterable[str], *, and_more: bool) -> str:
    """Return names one after another, with a mark where there are more."""
    return ", ".join([*map(escaped, names), *["..."] * and_more])


def shown(value: Any) -> str:
    """Return a value of a message for a table: text as it is, all else as JSON, nothing as `-`."""
    return "-" if value is None else escaped(as_text(value))


def number(count: int, *, is_exact: bool = True) -> str:
    """Return a number with its thousands apart."""
    return f"{count:,}" if is_exact else f"~{count:,}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with what it counts: `1 message`, `2,000 messages`."""
    return f"{number(count)} {one if count == 1 else many or f'{one}s'}"


class Times(Protocol):
    """The first and the last of some times, in RFC 3339."""

    @property
    def first(self) -> str | None:
        """None without any."""
        ...

    @property
    def last(self) -> str | None:
        """None without any."""
        ...


def have_days(*all_times: Times) -> bool:
    """Tell whether some times are of more than one day."""
    days = {each[:10] for times in all_times for each in filter(None, (times.first, times.last))}
    return len(days) > 1


def clocks(times: Times, *, with_date: bool) -> tuple[str, str]:
    """Return the times of day of the first and the last, with their dates if they matter."""
    return _clock(times.first, with_date=with_date), _clock(times.last, with_date=with_date)


def _clock(moment: str | None, *, with_date: bool) -> str:
    if moment is None:
        return "-"
    return f"{moment[5:10]} {moment[11:19]}" if with_date else moment[11:19]
