"""Context through taskiq, on each of its brokers: a middleware."""
# ruff: noqa: ARG002 - the hooks have the arguments that taskiq gives them

from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

from taskiq import (
    AsyncBroker,
    BrokerMessage,
    InMemoryBroker,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqResult,
)

from mqctx._core import isolation
from mqctx._core.context import Scope, current
from mqctx._propagation import propagator as propagators
from mqctx._propagation.propagator import Propagator
from mqctx.adapters._handler import scope_from

__all__ = ["ContextMiddleware"]

_scopes: ContextVar[tuple[Scope, ...]] = ContextVar("mqctx.adapters.taskiq", default=())
"""Those that this asyncio task is in. One for a message, if nothing is executed in place."""


class ContextMiddleware(TaskiqMiddleware):
    """Send with the active context in a message's labels; execute a task in the one it brought.

    For `broker.add_middlewares(ContextMiddleware())`. Retries are in the message's context too;
    put it first, and the other middlewares' `pre_execute` and `post_execute` are as well.

    Sending raises:
        OversizeError: the context takes more bytes than the propagator allows.
    """

    def __init__(self, *, propagator: Propagator | None = None) -> None:
        super().__init__()
        self._propagator = propagator

    def set_broker(self, broker: AsyncBroker) -> None:
        """Know the broker. An InMemoryBroker gets a `kick` that may execute in place."""
        super().set_broker(broker)
        if isinstance(broker, InMemoryBroker):
            # With await_inplace=True the task runs in the asyncio task of who sends it, and what
            # it sets would stay there; elsewhere, each message has an asyncio task of its own.
            kick = broker.kick

            def in_place(message: BrokerMessage) -> Coroutine[Any, Any, None]:
                return isolation.call(copy_context(), kick, message)

            setattr(broker, "kick", in_place)  # noqa: B010 - to a type checker, it is a method

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Write the active context into the labels, in place of any that they carry."""
        # The scheduler, in whose process nothing is active, sends on what was scheduled.
        if current() or "schedule_id" not in message.labels:
            inject = (self._propagator or propagators.default).inject
            message.labels = inject(message.labels)
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Enter the message's context."""
        scope = scope_from(message.labels, self._propagator)
        scope.__enter__()
        _scopes.set((*_scopes.get(), scope))
        return message

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Leave it."""
        *outer, scope = _scopes.get()
        _scopes.set(tuple(outer))
        scope.__exit__(None, None, None)
