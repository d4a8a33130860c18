"""A context variable of the application's own, and what tests need that count."""

import gc
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

other: ContextVar[str] = ContextVar("other", default="outside")
"""No handler of a test may change it outside."""


@pytest.fixture
def unchanged(ambient: None) -> Iterator[None]:
    """Run the test in a context that must survive, as must the value of `other`."""
    yield
    assert other.get() == "outside"


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """Let no collection free meanwhile what other tests left."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
