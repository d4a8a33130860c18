"""Rows of own work: a log line that shows five values; there is no file.

The standard library's record is complete, the others' line is rendered: by what the library itself
has for it, as all ways have the same values there.
"""

import json
import logging
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

import loguru
import structlog
from loguru import logger

from benchmarks import ways
from mqctx.logging.loguru import ContextPatcher
from mqctx.logging.stdlib import ContextFilter
from mqctx.logging.structlog import ContextProcessor

_OWN = {name: ContextVar[str](name) for name in ways.VALUES}


class _ByHand(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        for name, variable in _OWN.items():
            setattr(record, name, variable.get())
        return True


class _Last(logging.Handler):
    record: logging.LogRecord

    def emit(self, record: logging.LogRecord) -> None:
        self.record = record


def standard(way: str) -> Callable[[], object]:
    """Log with the standard library, through a filter of the handler."""
    for name, variable in _OWN.items():
        variable.set(ways.VALUES[name])
    ways.hold(ways.active(way, ways.VALUES))
    log, handler = logging.getLogger("bench"), _Last()
    log.addHandler(handler)
    filters = {ways.BY_HAND: _ByHand, **dict.fromkeys(ways.OURS, ContextFilter)}
    if way in filters:
        handler.addFilter(filters[way]())
    return _checked(way, lambda: log.warning("billing"), lambda: vars(handler.record))


def structured(way: str) -> Callable[[], object]:
    """Log JSON with structlog, through a processor."""
    adding: list[Any] = [ContextProcessor()] if way in ways.OURS else []
    if way == ways.MERGE:
        adding = [structlog.contextvars.merge_contextvars]
    log: Any = structlog.wrap_logger(
        structlog.ReturnLogger(),
        [*adding, structlog.processors.JSONRenderer()],
        structlog.BoundLogger,
    )
    log = log.bind(**ways.VALUES if way == ways.BY_HAND else {})
    structlog.contextvars.bind_contextvars(**ways.VALUES)
    ways.hold(ways.active(way, ways.VALUES))
    return _checked(way, lambda: log.warning("billing"), lambda: json.loads(log.warning("billing")))


def with_loguru(way: str) -> Callable[[], object]:
    """Log with loguru, through its patcher, in a format that shows all values."""
    last: Any = None

    def keep(message: "loguru.Message") -> None:
        nonlocal last
        last = message.record["extra"]

    logger.configure(
        handlers=[{"sink": keep, "format": "{message} {extra}"}],
        patcher=ContextPatcher() if way in ways.OURS else None,
    )
    log = logger.bind(**ways.VALUES) if way == ways.BY_HAND else logger
    if way == ways.CONTEXTUALIZE:
        ways.hold(logger.contextualize(**ways.VALUES))
    ways.hold(ways.active(way, ways.VALUES))
    return _checked(way, lambda: log.warning("billing"), lambda: last)


def _checked(
    way: str, call: Callable[[], object], shown: Callable[[], MutableMapping[str, Any]]
) -> Callable[[], object]:
    call()
    wanted = {} if way == ways.RAW else ways.VALUES
    found = {name: value for name, value in shown().items() if name in ways.VALUES}
    assert found == wanted, f"{way}: the line shows {found}"
    return call
