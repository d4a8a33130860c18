"""Text of strangers, made fit for a terminal."""

from typing import Any

from mqctx.inspection._where import as_text

__all__ = ["clock", "counted", "escaped", "number", "shown"]


def escaped(text: str) -> str:
    """Return `text` with all that is no printable character escaped: colours, bells, new lines.

    What changes the direction of text counts as such.
    """
    if text.isprintable():
        return text
    # Without its quotes, `ascii` of a single character is its escape.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shown(value: Any) -> str:
    """Return a value of a message for a table: text as it is, all else as JSON, nothing as `-`."""
    return "-" if value is None else escaped(as_text(value))


def number(count: int, *, is_exact: bool = True) -> str:
    """Return a number with its thousands apart."""
    return f"{count:,}" if is_exact else f"~{count:,}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with what it counts: `1 message`, `2,000 messages`."""
    return f"{number(count)} {one if count == 1 else many or f'{one}s'}"


def clock(moment: str | None, *, with_date: bool) -> str:
    """Return the time of day of an RFC 3339 time, with its date if it matters."""
    if moment is None:
        return "-"
    return f"{moment[5:10]} {moment[11:19]}" if with_date else moment[11:19]
