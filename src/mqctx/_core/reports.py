"""Reports under way: rejections being reported, log lines being written."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_NONE: frozenset[str] = frozenset()
_under_way: ContextVar[frozenset[str]] = ContextVar("mqctx.reports", default=_NONE)
reports_under_way = _under_way.get
"""Returns the kinds of reports that the running code is a part of."""


def report_once(
    kind: str, report: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> None:
    """Call `report`, unless the running code is a part of one of that kind.

    A log handler may send its records with a client that mqctx reports on: a report that causes
    another one would never end.
    """
    reports = _under_way.get()
    if kind in reports:
        return
    token = _under_way.set(reports | {kind})
    try:
        report(*args, **kwargs)
    finally:
        _under_way.reset(token)


def call_within(
    reports: frozenset[str], function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call `function` as a part of these reports, in a snapshot of its own: it stays one."""
    _under_way.set(reports)
    return function(*args, **kwargs)
