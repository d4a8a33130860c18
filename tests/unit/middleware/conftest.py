"""Fixtures: the lines that the middlewares log."""

from tests.middleware.conftest import lines

__all__ = ["lines"]
