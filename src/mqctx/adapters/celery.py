"""Context through Celery: from where a task is sent to wherever it runs.

`instrument` covers every way to send and to run a task, so there is nothing left for `publish`,
`consume_with_context` or `restored` to do.
"""

# Celery comes without types.
# pyright: reportMissingTypeStubs=false

from functools import partial
from typing import Any

from celery.app.amqp import AMQP
from celery.app.base import Celery
from celery.app.task import Task
from celery.local import Proxy
from celery.worker.request import Request

from mqctx._propagation.propagator import Propagator
from mqctx.adapters._handler import snapshot_from
from mqctx.adapters._instrumentation import Hook, InjectedHeaders, Instrumentation, Method

__all__ = ["instrument", "uninstrument"]

_instrumentation = Instrumentation(Celery)


def instrument(app: Celery | Proxy | None = None, *, propagator: Propagator | None = None) -> None:
    """Let tasks be sent with the active context, and run inside the context they were sent with.

    Call it in each process that sends or runs tasks, best beside the app; as often as you like,
    before or after tasks were sent or workers started. A task that is run eagerly stays in its
    caller's context. An `OversizeError` is raised by `delay` and the like, before anything is sent.

    Args:
        app: The Celery app, or `celery.current_app`. None: every app of the process.
        propagator: Injects and extracts. None: the default one of the moment.

    Raises:
        ConfigurationError: `app` is no Celery app.
    """
    _instrumentation.instrument(_evaluated(app), propagator=propagator)


def uninstrument(app: Celery | Proxy | None = None) -> None:
    """Undo `instrument` for the same app, or None. With the last one, every hook is gone."""
    _instrumentation.uninstrument(_evaluated(app))


def _evaluated(app: Any) -> Any:
    # What `celery.current_app` stands for now; another thread may have another.
    return app._get_current_object() if hasattr(app, "_get_current_object") else app


class _Kept(property):
    """What each app or task keeps of its own, given out wrapped.

    Celery makes a sender for each app and a tracer for each task once, often before us. (And a
    plain property cannot bear what `functools.wraps` writes on it.)
    """


def _around_sender(original: Any) -> Any:
    # Each task that is sent passes here, with the headers of its route: chains, chords, retries,
    # beat. Not a signal: Celery logs an error of its receiver, and sends the task all the same.
    def send_task_message(self: Any) -> Method:
        return partial(_send, self.app, original.__get__(self))

    return _Kept(send_task_message, original.__set__)


def _send(app: Celery, send: Method, producer: Any, name: str, message: Any, **options: Any) -> Any:
    propagator = _instrumentation.propagator_for((app,))
    if propagator is not None:
        headers = {**message.headers, **dict(options.pop("headers", None) or {})}
        message = message._replace(headers=InjectedHeaders(propagator.inject(headers)))
    return send(producer, name, message, **options)


def _around_tracer(original: Any) -> Any:
    # The tracer runs the task's body and all that follows: on_failure and the like, errbacks, the
    # next in the chain, the log line of success. An eager task has a tracer that is not kept.
    def tracer(self: Any) -> Method | None:
        kept: Method | None = self.__dict__.get("__trace__", original)
        return kept and partial(_trace, self.app, kept)

    def keep(self: Any, value: Any) -> None:
        self.__dict__["__trace__"] = value

    return _Kept(tracer, keep)


def _trace(
    app: Celery, trace: Method, uuid: str, args: Any, kwargs: Any, request: Any = None
) -> Any:
    return _in_context_of(request or {}, app, trace, uuid, args, kwargs, request)


def _around_request(original: Method) -> Method:
    # What the worker's main process does where the task cannot: its process was lost, its time
    # was over, it was revoked. This too sends errbacks, retries and the bodies of chords.
    def handle(self: Any, *args: Any, **options: Any) -> Any:
        return _in_context_of(self.request_dict, self.app, original, self, *args, **options)

    return handle


def _in_context_of(request: Any, app: Celery, call: Method, *args: Any, **options: Any) -> Any:
    propagator = _instrumentation.propagator_for((app,))
    if propagator is None:
        return call(*args, **options)
    # In message protocol 2, which alone has a "lang", the headers are the request.
    headers = request if "lang" in request else request.get("headers")
    return snapshot_from(headers, propagator).run(call, *args, **options)


_instrumentation.use(
    Hook(AMQP, "send_task_message", _around_sender),
    Hook(Task, "__trace__", _around_tracer),
    Hook(Request, "on_failure", _around_request),
    Hook(Request, "on_timeout", _around_request),
    Hook(Request, "_announce_revoked", _around_request),
)
