"""Undoes what tests leave behind in logging, and their brokers; the plugin does the rest."""

import gc
import logging
from collections.abc import Generator, Iterator

import hypothesis
import pytest

import mqctx
from tests.integration.shared import kept

pytest_plugins = ["pytester"]

# How long an example takes says nothing where several tests run at a time.
hypothesis.settings.register_profile("mqctx", deadline=None)
hypothesis.settings.load_profile("mqctx")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among a million objects, which last, now or in any test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Stop the brokers that this process found, now that it uses none itself."""
    kept.close()


@pytest.fixture(autouse=True)
def _clean_logging() -> None:
    # By default, who configures logging disables the loggers that exist: Django, dictConfig.
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).disabled = False
    # Some set the root's level too, or let nothing pass at all.
    logging.root.setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)


@pytest.fixture
def ambient() -> Iterator[None]:
    """Run the test in a context that no message brought, and that must survive."""
    with mqctx.scope(user="ambient"):
        yield
        assert mqctx.current() == {"user": "ambient"}
