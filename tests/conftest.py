"""What each test leaves behind is undone here, and a context that stays active is a failure."""

from collections.abc import Iterator

import pytest

import mqctx
from mqctx import propagator, rejection, values


@pytest.fixture(autouse=True)
def _clean_process() -> Iterator[None]:
    declarations, joined = dict(values.declarations), dict(values.joined)
    rejection.forget_logged()
    yield
    for registry, before in ((values.declarations, declarations), (values.joined, joined)):
        registry.clear()
        registry.update(before)
    propagator.configure()
    assert mqctx.current() == {}, "a context is still active after the test"
