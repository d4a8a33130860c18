"""Context through FastStream's RabbitBroker: a broker middleware."""

import contextvars
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from copy import copy
from types import TracebackType
from typing import Any

from aio_pika import Message
from faststream import BaseMiddleware, ContextRepo
from faststream.message import StreamMessage
from faststream.rabbit.response import RabbitPublishCommand

from mqctx._core import isolation
from mqctx._core.scope import Scope
from mqctx._propagation.propagator import Propagator, registry
from mqctx.adapters._aio_pika_reports import origin_of
from mqctx.adapters._faststream_name import name_of_handler
from mqctx.adapters._handler import attribute_of, headers_of, scope_from
from mqctx.adapters._reporter import Origin

__all__ = ["ContextMiddleware", "restored"]


class ContextMiddleware(BaseMiddleware[RabbitPublishCommand, Any]):
    """Publish with the active context in the headers; process a message in the one it brought.

    For `RabbitBroker(middlewares=[ContextMiddleware])`, or, with a propagator of its own,
    `middlewares=[partial(ContextMiddleware, propagator=...)]`. Everything listed after it runs
    inside the context too: parsers, filters, other middlewares, the publishing of results.

    Publishing raises:
        OversizeError: the context takes more bytes than the propagator allows. Results and
            replies, which FastStream itself publishes, go out without the values that do not fit,
            each with a rejection.
        HeadersError: the headers given are not a mapping.
    """

    __slots__ = ("_propagator", "_scope", "_snapshot")

    _scope: Scope

    def __init__(
        self, msg: Any, /, *, context: ContextRepo, propagator: Propagator | None = None
    ) -> None:
        super().__init__(msg, context=context)
        self._propagator = propagator
        self._snapshot: contextvars.Context | None = None

    async def on_receive(self) -> None:
        """Enter the message's context, in whichever task processes it."""
        name = None
        if registry.report is not None:
            name = name_of_handler(self.context.get("handler_"))
        self._scope = _scope(self.msg, self.msg, self._propagator, name)
        self._scope.__enter__()

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Leave the message's context. FastStream calls this after errors and cancellation too."""
        self._scope.__exit__(exc_type, exc_val, exc_tb)

    async def consume_scope(
        self, call_next: Callable[..., Awaitable[Any]], msg: StreamMessage[Any]
    ) -> Any:
        """Call the handler in a snapshot of its own: TestRabbitBroker has no task for it."""
        self._snapshot = copy_context()
        return await isolation.call(self._snapshot, call_next, msg)

    async def publish_scope(
        self,
        call_next: Callable[[RabbitPublishCommand], Awaitable[Any]],
        cmd: RabbitPublishCommand,
    ) -> Any:
        """Publish; in the handler's snapshot if it is the handler's result."""
        # Other middlewares (FastStream's telemetry) end here what they began in consume_scope.
        return await isolation.call(self._snapshot, self._publish, call_next, cmd)

    def _publish(
        self,
        call_next: Callable[[RabbitPublishCommand], Awaitable[Any]],
        cmd: RabbitPublishCommand,
    ) -> Awaitable[Any]:
        inject = (self._propagator or registry.propagator).inject
        trim = self.msg is not None  # FastStream itself publishes the result of a handler
        if isinstance(cmd.body, Message):  # sent as it is, without the command's headers
            cmd.body = copy(cmd.body)
            cmd.body.headers = inject(cmd.body.headers, trim=trim)
        else:
            cmd.headers = inject(cmd.headers, trim=trim)
        return call_next(cmd)


def restored(message: StreamMessage[Any], /, *, propagator: Propagator | None = None) -> Scope:
    """Return a `with` block inside exactly the context that `message` brought.

    For `subscriber.get_one()`, `async for message in subscriber`, and the reply that
    `broker.request()` returns.
    """
    return _scope(message, attribute_of(message, "raw_message"), propagator)


def _scope(
    message: object, raw: object, propagator: Propagator | None, name: str | None = None
) -> Scope:
    headers = headers_of(message)
    return scope_from(headers, propagator, origin_of=_origin_of, arguments=(raw,), name=name)


def _origin_of(_message: None, arguments: tuple[Any, ...]) -> Origin:
    return origin_of(arguments[0], ())
