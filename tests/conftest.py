"""What each test leaves behind is undone here, and a context that stays active is a failure."""

import logging
from collections.abc import Iterator

import hypothesis
import pytest

import mqctx
from mqctx._core.registry import registry
from mqctx.middleware import _request  # noqa: F401 - what it declares is there throughout

# How long an example takes says nothing where several tests run at a time.
hypothesis.settings.register_profile("mqctx", deadline=None)
hypothesis.settings.load_profile("mqctx")


@pytest.fixture(autouse=True)
def _clean_process() -> Iterator[None]:
    saved = registry.snapshot()
    registry.quiet_until.clear()
    registry.undeclared.clear()
    # By default, who configures logging disables the loggers that exist: Django, dictConfig.
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).disabled = False
    # Some set the root's level too, or let nothing pass at all.
    logging.root.setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
    yield
    registry.restore(saved)
    assert mqctx.current() == {}, "a context is still active after the test"


@pytest.fixture
def ambient() -> Iterator[None]:
    """Run the test in a context that no message brought, and that must survive."""
    with mqctx.scope(user="ambient"):
        yield
        assert mqctx.current() == {"user": "ambient"}
