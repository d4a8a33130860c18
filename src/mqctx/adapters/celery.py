"""Context through Celery: from where a task is sent to wherever it runs.

`instrument` covers every way to send and to run a task, so there is nothing left for `publish` and
`consume_with_context` to do; `restored` is for the requests of a batch.
"""

# Celery comes without types.
# pyright: reportMissingTypeStubs=false

import inspect
from contextvars import ContextVar
from typing import Any, cast

from celery.app.amqp import AMQP, task_message
from celery.app.base import Celery
from celery.app.task import Task
from celery.concurrency.base import BasePool
from celery.worker.request import Request

from mqctx._core.context import EMPTY
from mqctx._core.runs import active_run
from mqctx._core.scope import Scope
from mqctx._propagation.propagator import Propagator, registry
from mqctx.adapters._celery_reports import (
    begin_task,
    error_in,
    is_told_by_main_process,
    origin_of_block,
    report_lost,
)
from mqctx.adapters._handler import attribute_of, scope_from, snapshot_from
from mqctx.adapters._instrumentation import Hook, InjectedHeaders, Instrumentation, Method
from mqctx.adapters._reports import reported

__all__ = ["instrument", "restored", "uninstrument"]

_instrumentation = Instrumentation(Celery)
_in_worker: ContextVar[bool] = ContextVar("mqctx.adapters.celery", default=False)
"""Whether a worker is at work on a task: an error of Celery's own sends would be lost there."""


def instrument(app: object = None, *, propagator: Propagator | None = None) -> None:
    """Let tasks be sent with the active context, and run inside the context they were sent with.

    Call it in each process that sends or runs tasks, best beside the app; as often as you like,
    before or after tasks were sent or workers started. A task that is run eagerly stays in its
    caller's context. An `OversizeError` is raised by `delay` and the like, before anything is sent;
    but not inside a task, where retries, callbacks and chains would be lost to it: there, values
    that do not fit are left out, each a rejection.

    Args:
        app: The Celery app, or `celery.current_app`. None: every app of the process.
        propagator: Injects and extracts. None: the default one at each call.

    Raises:
        ConfigurationError: `app` is no Celery app.
    """
    _instrumentation.instrument(_evaluated(app), propagator=propagator)


def uninstrument(app: object = None) -> None:
    """Undo `instrument` for the same app, or None. After the last one, no hook is left."""
    _instrumentation.uninstrument(_evaluated(app))


def _evaluated(app: Any) -> object:
    # `celery.current_app` is a proxy, and another thread may have another app.
    return app._get_current_object() if hasattr(app, "_get_current_object") else app


def restored(request: object, /, *, propagator: Propagator | None = None) -> Scope:
    """Return a `with` block inside exactly the context that `request` was sent with.

    For each request of a batch, as celery-batches hands them to a task; a task's own `request`, or
    a worker's, will do too.
    """
    fields = attribute_of(request, "request_dict") or attribute_of(request, "__dict__")
    headers = _headers_of(fields)
    return scope_from(headers, propagator, origin_of=origin_of_block, arguments=(fields,))


class _Wrapped:
    """A function that Celery made, with our code around its calls; otherwise unchanged."""

    def __init__(self, around: Method, app: Celery, original: Method) -> None:
        self.around = around
        self.app = app
        self.original = original

    def __call__(self, *args: object, **options: object) -> object:
        return self.around(self.app, self.original, *args, **options)

    def __getattr__(self, name: str) -> object:
        # A copy has no `original` yet when it is asked for `__setstate__`: `self` would ask again.
        return getattr(object.__getattribute__(self, "original"), name)


def _is_read_by_celery() -> bool:
    """Tell whether the code that reads an attribute, two calls up, is Celery's own caller."""
    frame: Any = inspect.currentframe()
    return frame.f_back.f_back.f_globals.get("__name__") in ("celery.app.base", "celery.app.trace")


class _Made:
    """An attribute for a function that Celery makes for each app or task, once, often before us.

    Reading it gives the function wrapped. A function that anybody else put in its place is wrapped
    for Celery only; all other code reads it as it was put there.
    """

    def __init__(self, name: str, around: Method, original: object) -> None:
        self._name = name
        self._around = around
        self._original = original

    def __get__(self, owner: Any, kind: object = None) -> object:
        found: Any = self._found(owner, kind)
        if owner is None or found is None:
            return found
        is_theirs = self._name in vars(owner) and not _is_celerys(found)
        if is_theirs and not _is_read_by_celery():
            return found
        return _Wrapped(self._around, owner.app, found)

    def _found(self, owner: object, kind: object) -> object:
        own: dict[str, object] = getattr(owner, "__dict__", {})
        if self._name in own:
            return own[self._name]
        bind: Method | None = getattr(self._original, "__get__", None)
        return self._original if bind is None else bind(owner, kind)

    def __set__(self, owner: object, value: object) -> None:
        if isinstance(value, _Wrapped):  # it was read here, and is put back
            value = value.original
        vars(owner)[self._name] = value

    def __delete__(self, owner: object) -> None:
        if self._name not in vars(owner):
            raise AttributeError(self._name)
        del vars(owner)[self._name]


def _is_celerys(function: object) -> bool:
    return str(getattr(function, "__module__", None)).startswith("celery.")


def _around_sender(original: object) -> Any:
    # Each task that is sent passes here, with the headers of its route: chains, chords, retries,
    # beat. A signal would not do: Celery logs an error of its receiver, and sends the task anyway.
    return _Made("send_task_message", _send, original)


def _send(
    app: Celery,
    send: Method,
    producer: object,
    name: object,
    message: Any,
    *args: object,
    **options: Any,
) -> object:
    propagator = _instrumentation.propagator_for(app)
    if propagator is not None and type(message) is task_message:
        own: dict[str, Any] = cast("Any", message).headers
        headers = {**own, **dict(options.pop("headers", None) or {})}
        injected = propagator.inject(headers, trim=_in_worker.get())
        message = message._replace(headers=InjectedHeaders(injected))
    return send(producer, name, message, *args, **options)


def _around_tracer(original: object) -> Any:
    # The tracer runs the task's body and everything after it: on_failure and the like, errbacks,
    # the next in the chain, the log line of success. The tracer of an eager task is not kept.
    return _Made("__trace__", _trace, original)


def _trace(
    app: Celery, trace: Method, uuid: object, args: object, kwargs: object, request: object = None
) -> object:
    if registry.report is not None:
        trace = _with_report(trace, app, request)
    return _in_context_of(request, app, trace, uuid, args, kwargs, request)


def _around_request(original: Method) -> Method:
    # The worker's main process steps in if the task cannot: its process was lost, its time was
    # over, it was revoked. It too sends errbacks, retries and the bodies of chords.
    def handle(self: Any, *args: object, **options: object) -> object:
        call = original if registry.report is None else _reporting_lost(original)
        return _in_context_of(self.request_dict, self.app, call, self, *args, **options)

    return handle


def _reporting_lost(original: Method) -> Method:
    def handle(self: Any, *args: object, **options: object) -> object:
        report_lost(self, args)
        return original(self, *args, **options)

    return handle


def _in_context_of(
    request: object, app: Celery, call: Method, *args: object, **options: object
) -> object:
    propagator = _instrumentation.propagator_for(app)
    if propagator is None:
        return call(*args, **options)

    def at_work() -> object:
        _in_worker.set(True)
        return call(*args, **options)

    return snapshot_from(_headers_of(request), propagator).run(at_work)


def _with_report(trace: Method, app: Celery, request: Any) -> Method:
    """Return the tracer with a report of the run, which begins inside its context."""

    def report(*arguments: object) -> object:
        begun = begin_task(app, request)
        if begun is None:
            return trace(*arguments)
        active_run.set(begun.run)
        return reported(trace, begun, error_in, is_told_by_main_process)(*arguments)

    return report


def _headers_of(request: object) -> object:
    # In message protocol 2, which alone has a "lang", the headers are the request.
    headers = request
    if isinstance(request, dict) and "lang" not in request:
        headers = cast("dict[str, object]", request).get("headers")
    return headers


def _around_pool(original: Method) -> Method:
    # A task enters its context in the tracer. Other work may belong to many messages, as a batch
    # does, but kombu's hook has the context of the last one active here.
    def apply_async(self: Any, *args: object, **options: object) -> object:
        if _instrumentation.propagator_for(self.app) is None:
            return original(self, *args, **options)
        return EMPTY.snapshot().run(original, self, *args, **options)

    return apply_async


_instrumentation.use(
    Hook(AMQP, "send_task_message", _around_sender),
    Hook(Task, "__trace__", _around_tracer),
    Hook(Request, "on_failure", _around_request),
    Hook(Request, "on_timeout", _around_request),
    Hook(Request, "_announce_revoked", _around_request),
    Hook(BasePool, "apply_async", _around_pool),
)
