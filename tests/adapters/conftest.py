"""A context variable of the application's own, which no handler of a test may change outside."""

from collections.abc import Iterator
from contextvars import ContextVar

import pytest

other: ContextVar[str] = ContextVar("other", default="outside")


@pytest.fixture
def unchanged(ambient: None) -> Iterator[None]:
    """Run the test in a context that must survive, as must the value of `other`."""
    yield
    assert other.get() == "outside"
