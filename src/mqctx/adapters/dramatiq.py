"""Context through dramatiq, on each of its brokers: a middleware."""
# ruff: noqa: ARG002 - the hooks have the arguments that dramatiq gives them

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import wraps
from typing import Any, cast

from dramatiq import Broker, Message, MessageProxy, Middleware
from dramatiq.middleware import MiddlewareError

from mqctx._core.scope import Scope
from mqctx._propagation.propagator import Propagator, check_propagator, registry
from mqctx.adapters._dramatiq_reports import origin_of
from mqctx.adapters._handler import scope_from
from mqctx.errors import MqctxError

__all__ = ["ContextMiddleware"]


class _Thread(threading.local):
    """The state of a worker's thread; any other thread keeps these defaults."""

    scope: Scope | None = None
    """The scope of the message under way, and of the retries and callbacks that follow it."""
    error: BaseException | None = None
    """The exception that the actor raised."""
    acts: bool = False
    """Whether the actor is at work on the message, not dramatiq."""
    forwards: bool = False
    """Whether the thread only hands on messages that were enqueued before."""

    @property
    def is_dramatiqs(self) -> bool:
        """Whether dramatiq itself is at work on a message, before or after its actor."""
        return self.scope is not None and not self.acts


class ContextMiddleware(Middleware):
    """Enqueue with the active context in a message's options; run an actor in the one it brought.

    For `broker.add_middleware(ContextMiddleware())`, anywhere among the others. Messages that
    dramatiq enqueues after another (retries, callbacks, the rest of a pipeline) have its context
    too. A middleware can only write to the options of the very message that is enqueued, so the
    message that `send` returns, or that was given to `enqueue`, shows the context.

    Enqueueing raises:
        OversizeError: the context takes more bytes than the propagator allows. If dramatiq itself
            enqueues, values that do not fit are left out instead, each with a rejection.
    """

    def __init__(self, *, propagator: Propagator | None = None) -> None:
        check_propagator(propagator)
        self._propagator = propagator
        self._thread = _Thread()

    def after_consumer_thread_boot(self, broker: Broker, thread: Any) -> None:
        """Let delayed messages, which this thread enqueues again when due, keep their context."""
        self._thread.forwards = True

    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:
        """Write the active context into the options, in place of any that they carry."""
        if self._thread.forwards:
            return
        options = message.options
        injected = self._injected(options)
        # In place: dramatiq has no way to enqueue another message than this one.
        for stale in options.keys() - injected.keys():
            del options[stale]
        options.update(injected)

    def _injected(self, options: dict[str, Any]) -> dict[str, Any]:
        inject = (self._propagator or registry.propagator).inject
        try:
            return inject(options, trim=self._thread.is_dramatiqs)
        except MqctxError as error:
            raise _let_through(error) from None

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Enter the message's context."""
        self._thread.acts = False
        self._thread.scope = scope_from(
            message.options,
            self._propagator,
            origin_of=origin_of,
            arguments=(message, broker),
            name=message.actor_name,
        )
        self._thread.scope.__enter__()

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        """Keep how it went, for the report."""
        self._thread.error = exception

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        """Leave the message's context. dramatiq always calls this or `before_nack` last."""
        scope, self._thread.scope = self._thread.scope, None
        error, self._thread.error = self._thread.error, None
        if scope is not None:
            scope.__exit__(None, error, None)

    before_nack = before_ack

    def after_declare_actor(self, broker: Broker, actor: Any) -> None:
        """Let the actor's function run in a snapshot of its own, since threads are used again."""
        if isinstance(actor, str):  # from `add_middleware` of dramatiq 1.18
            actor = cast("Any", broker).actors[actor]
        actor.fn = self._isolated(actor.fn)

    def _isolated(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def isolated(*args: object, **kwargs: object) -> Any:
            thread = self._thread
            if not thread.is_dramatiqs:  # the application calls the actor itself
                return function(*args, **kwargs)
            thread.acts = True
            try:
                # A copy taken here has the variables that all other middlewares have set.
                return copy_context().run(function, *args, **kwargs)
            finally:
                thread.acts = False

        return isolated


def _let_through(error: MqctxError) -> MqctxError:
    """Return the error in a class that dramatiq raises to its caller, and does not only log."""
    kind = type(error)
    passing = type(kind.__name__, (kind, MiddlewareError), {"__module__": kind.__module__})
    return cast("MqctxError", passing(*error.args))
