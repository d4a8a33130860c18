"""Reports of the tasks that Celery's workers run, where Celery speaks AMQP."""

# Celery comes without types.
# pyright: reportMissingTypeStubs=false

import os
import time
from functools import lru_cache, partial
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import billiard
from celery import current_app, signals
from celery.app.base import Celery
from celery.app.trace import trace_ok_t
from celery.exceptions import Terminated, TimeLimitExceeded, WorkerLostError

from mqctx._core.runs import active_run
from mqctx._core.store import current
from mqctx.adapters import _kombu_reports
from mqctx.adapters._reporter import Origin
from mqctx.adapters._reports import Begun, begin, flush_reports

__all__ = [
    "begin_task",
    "error_in",
    "is_told_by_main_process",
    "origin_of_block",
    "report_lost",
]

_LOST: Final = (SystemExit, Terminated, TimeLimitExceeded, WorkerLostError)
_MAIN: Final = "MainProcess"
_connections: "WeakKeyDictionary[Celery, Any]" = WeakKeyDictionary()
"""A connection for each app, which is never opened: its clones are."""


def origin_of_block(_message: None, arguments: tuple[Any, ...]) -> Origin:
    """Return where the message of a batched task came from, given the fields of its request.

    Raises:
        LookupError: it is the task that is at work.
    """
    (request,) = arguments
    run = active_run.get()
    if run is not None and run.message is request["id"]:
        raise LookupError("its run is reported already")
    return _origin_of(request, cast("Any", current_app)._get_current_object())


def _origin_of(request: Any, app: Celery) -> Origin:
    """Return where the message of a task came from; raise TypeError if it was not by AMQP."""
    info: dict[str, Any] = request["delivery_info"]
    return Origin(
        client=_connection_of(app),
        outlet=_kombu_reports.outlet,
        message_id=request.get("properties", {}).get("message_id"),
        correlation_id=request.get("correlation_id"),
        exchange=info["exchange"],
        routing_key=info["routing_key"],
        redelivered=info.get("redelivered"),
    )


def begin_task(app: Celery, request: Any, *, ago: float = 0.0) -> Begun | None:
    """Begin the run of a task, as far as one is to be reported."""
    if not isinstance(request, dict) or "id" not in request:
        return None
    _flush_in_time()
    fields = cast("dict[str, Any]", request)
    origin = partial(_origin_of, fields, app)
    return begin(origin, fields["id"], current(), str(fields.get("task")), ago=ago)


def error_in(result: Any) -> BaseException | None:
    """Return what a task has raised, a Retry too: Celery's tracer returns it."""
    info: Any = cast("Any", result).info if isinstance(result, trace_ok_t) else None
    error: object = getattr(info, "retval", None)
    return error if isinstance(error, BaseException) else None


def report_lost(request: Any, arguments: tuple[Any, ...]) -> None:
    """Report a task whose process is gone: it cannot do it itself."""
    error = getattr(arguments[0], "exception", None) if arguments else None
    error = getattr(error, "exc", error)  # billiard keeps the traceback beside it
    if isinstance(error, _LOST) and request.worker_pid not in (None, os.getpid()):
        ago = time.time() - request.time_start
        begun = begin_task(request.app, request.request_dict, ago=ago)
        if begun is not None:
            begun.end(error)


def is_told_by_main_process(error: BaseException) -> bool:
    """Tell whether a process of a pool is about to end, which `report_lost` knows better."""
    process: Any = cast("Any", billiard).current_process()
    return isinstance(error, SystemExit) and process.name != _MAIN


def _connection_of(app: Celery) -> Any:
    connection = _connections.get(app)
    if connection is None:
        connection = _connections[app] = cast("Any", app).connection_for_write()
    if connection.transport.driver_type != "amqp":
        raise TypeError("a transport that does not speak AMQP")
    return connection


@lru_cache(maxsize=1)
def _flush_in_time() -> None:
    """Let the processes of a pool flush before they end: they run nothing of `atexit`."""

    def flush(**_: object) -> None:
        flush_reports()

    signal: Any = signals.worker_process_shutdown
    signal.connect(flush, weak=False)
