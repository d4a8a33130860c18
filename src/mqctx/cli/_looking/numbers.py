"""Numbers that options take."""

from math import isnan
from typing import Any, Final

import click

__all__ = ["LENGTH_OF_TIME", "MORE_THAN_0"]


class _Number(click.FloatRange):
    """A number: what is none is within every range, and never reached."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


LENGTH_OF_TIME: Final = _Number(min=0)
"""Seconds."""
MORE_THAN_0: Final = _Number(min=0, min_open=True)
