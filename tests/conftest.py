"""What each test leaves behind is undone here, and a context that stays active is a failure."""

import logging
from collections.abc import Iterator

import hypothesis
import pytest

import mqctx
from mqctx._core import linked_vars, rejection, values
from mqctx._propagation import propagator
from mqctx.middleware import _request  # noqa: F401 - what it declares is there throughout

# How long an example takes says nothing where several tests run at a time.
hypothesis.settings.register_profile("mqctx", deadline=None)
hypothesis.settings.load_profile("mqctx")


@pytest.fixture(autouse=True)
def _clean_process() -> Iterator[None]:
    declared, others = dict(values.declarations), dict(linked_vars.linked)
    local = set(values.local)
    rejection.forget_logged()
    values.undeclared.clear()
    # By default, who configures logging disables the loggers that exist: Django, dictConfig.
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).disabled = False
    # Some set the root's level too, or let nothing pass at all.
    logging.root.setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
    yield
    values.declarations.clear()
    values.declarations.update(declared)
    values.local.clear()
    values.local.update(local)
    linked_vars.linked.clear()
    linked_vars.linked.update(others)
    propagator.configure()
    assert mqctx.current() == {}, "a context is still active after the test"
