"""What the middlewares log."""

from tests.middleware.conftest import lines

__all__ = ["lines"]
