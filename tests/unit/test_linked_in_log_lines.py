"""Values of linked ContextVars in log lines, of whichever library."""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from loguru import logger

from mqctx import Variable, bind, scope
from mqctx._core.store import active_store
from mqctx.logging.loguru import ContextPatcher
from mqctx.logging.stdlib import ContextFilter
from mqctx.logging.structlog import ContextProcessor

Shown = Callable[[], dict[str, Any]]


def by_logging() -> Shown:
    log_filter = ContextFilter(attribute="context")

    def shown() -> dict[str, Any]:
        record = logging.LogRecord("shop", logging.INFO, "", 0, "billing", None, None)
        held: Any = log_filter.filter(record)  # a copy, from Python 3.12 on
        return {**vars(record if held is True else held)["context"]}

    return shown


def by_structlog() -> Shown:
    processor = ContextProcessor()
    return lambda: {**processor(None, "info", {})}


def by_loguru() -> Shown:
    seen: list[dict[str, Any]] = []
    # Its settings are of the process: an example may have set some.
    sink: Any = {"sink": lambda message: seen.append(message.record["extra"])}
    logger.configure(handlers=[sink], extra={}, patcher=lambda _: None)
    log = logger.patch(ContextPatcher())

    def shown() -> dict[str, Any]:
        log.info("billing")
        return seen.pop()

    return shown


each = pytest.mark.parametrize("library", [by_logging, by_structlog, by_loguru])


@each
def test_shows_what_anybody_has_set_a_linked_contextvar_to(library: Callable[[], Shown]) -> None:
    locale: ContextVar[str] = ContextVar("locale")
    Variable("locale", str, contextvar=locale)
    shown = library()
    with scope(locale="en", tenant="acme"):
        assert shown() == {"locale": "en", "tenant": "acme"}
        locale.set("fr")
        assert shown() == {"locale": "fr", "tenant": "acme"}
        locale.set("en")
        assert shown() == {"locale": "en", "tenant": "acme"}


@each
def test_shows_a_contextvar_that_is_linked_after_a_line(library: Callable[[], Shown]) -> None:
    locale: ContextVar[str] = ContextVar("locale")
    shown = library()
    with scope(tenant="acme"):
        assert shown() == {"tenant": "acme"}
        Variable("locale", str)
        assert shown() == {"tenant": "acme"}
        Variable("locale", str, contextvar=locale)
        locale.set("en")
        assert shown() == {"tenant": "acme", "locale": "en"}


@each
def test_shows_what_a_thread_has_bound_that_is_still_about_it(library: Callable[[], Shown]) -> None:
    shown = library()
    with scope(tenant="acme"):
        bind(user="ada")
        store = active_store()
        first = store.later
        bind(order="7")
        store.later = first  # a thread that bound before, and is slower, sets it last
        assert shown() == {"tenant": "acme", "user": "ada", "order": "7"}
