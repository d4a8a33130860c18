"""Context through taskiq, on each of its brokers: a middleware."""
# ruff: noqa: ARG002 - the hooks have the arguments that taskiq gives them

from contextvars import ContextVar, copy_context
from typing import Any

import msgspec
from taskiq import (
    AsyncBroker,
    BrokerMessage,
    InMemoryBroker,
    NoResultError,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqResult,
)

from mqctx._core import isolation
from mqctx._core.scope import Scope
from mqctx._core.store import current
from mqctx._propagation.propagator import Propagator, check_propagator, registry
from mqctx.adapters._handler import scope_from
from mqctx.adapters._taskiq_reports import origin_of

__all__ = ["ContextMiddleware"]


class _Execution(msgspec.Struct):
    """A message that is executed."""

    task_id: str
    scope: Scope
    is_over: bool = False
    """Whether the task is done, and taskiq at work on its result."""
    error: BaseException | None = None
    """The exception that the task raised: a retry puts another one into the result."""


_executions: ContextVar[tuple[_Execution, ...]] = ContextVar("mqctx.adapters.taskiq", default=())
"""The executions in this asyncio task: one, unless tasks execute in place, or it is added twice."""


class ContextMiddleware(TaskiqMiddleware):
    """Send with the active context in a message's labels; execute a task in the one it brought.

    For `broker.add_middlewares(ContextMiddleware())`. Messages that taskiq sends after a task
    (retries, the next step of a pipeline) have its context too. Put it first: then `pre_execute`,
    `post_execute` and `post_save` of the other middlewares run in the context as well.

    Sending raises:
        OversizeError: the context takes more bytes than the propagator allows. If taskiq itself
            sends, values that do not fit are left out instead, each with a rejection.
    """

    def __init__(self, *, propagator: Propagator | None = None) -> None:
        super().__init__()
        check_propagator(propagator)
        self._propagator = propagator

    def set_broker(self, broker: AsyncBroker) -> None:
        """Know the broker. An InMemoryBroker gets a `kick` that may execute in place."""
        super().set_broker(broker)
        if isinstance(broker, InMemoryBroker):
            # With await_inplace=True the task runs in the sender's asyncio task, where variables
            # that it sets would stay; otherwise each message has an asyncio task of its own.
            kick = broker.kick

            async def in_place(message: BrokerMessage) -> None:
                await isolation.call(copy_context(), kick, message)

            setattr(broker, "kick", in_place)  # noqa: B010 - to a type checker, it is a method

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Write the active context into the labels, in place of any that they carry."""
        # The scheduler sends on messages that were scheduled, with no context in its process.
        if current() or "schedule_id" not in message.labels:
            inject = (self._propagator or registry.propagator).inject
            message.labels = inject(message.labels, trim=_is_taskiqs(message))
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Enter the message's context."""
        name = message.task_name
        scope = scope_from(
            message.labels,
            self._propagator,
            origin_of=origin_of,
            arguments=(message, getattr(self, "broker", None)),
            name=name,
        )
        scope.__enter__()
        _executions.set((*_executions.get(), _Execution(message.task_id, scope)))
        return message

    def on_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException
    ) -> None:
        """Keep the error, for the report."""
        _executions.get()[-1].error = exception

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Leave the message's context, if `post_save` will not be called."""
        _executions.get()[-1].is_over = True
        if isinstance(result.error, NoResultError):
            _leave()

    def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Leave the message's context."""
        _leave()


def _is_taskiqs(message: TaskiqMessage) -> bool:
    """Tell whether taskiq sends it after a task: a retry has the id of the message under way."""
    return any(each.is_over or each.task_id == message.task_id for each in _executions.get())


def _leave() -> None:
    *outer, last = _executions.get()
    _executions.set(tuple(outer))
    last.scope.__exit__(None, last.error, None)
