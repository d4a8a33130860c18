"""Text that options take, which has to reach a broker."""

from typing import Any, Final

import click

__all__ = ["NAME", "QUEUE", "TEXT"]

_MOST: Final = 255
"""The bytes of a short string (AMQP 0-9-1, 4.2.5.3)."""


class _Text(click.types.StringParamType):
    """Text of UTF-8: the bytes of an argument may be anything."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(super().convert(value, param, ctx))
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text!a} is not UTF-8", param, ctx)
        return text


class _Name(_Text):
    """A name or a routing key, as AMQP allows it."""

    name = "name"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = super().convert(value, param, ctx)
        if not self._least <= len(text.encode()) <= _MOST:
            self.fail(f"a name has {self._least} to {_MOST} bytes", param, ctx)
        return text


TEXT: Final = _Text()
QUEUE: Final = _Name(1)
"""Of a queue, which is never empty: a shell's variable that was not set may be."""
NAME: Final = _Name(0)
"""Of an exchange, or a routing key."""
