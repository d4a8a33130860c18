"""Context through aio-pika: plain and robust connections."""

from collections.abc import Coroutine, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from aio_pika import Channel, Connection, Exchange, Queue
from aio_pika.abc import AbstractExchange, AbstractIncomingMessage, AbstractMessage
from aio_pika.message import ProcessContext
from aio_pika.queue import QueueIterator
from aio_pika.robust_queue import RobustQueueIterator

from mqctx._core.context import Scope, restored_here
from mqctx._propagation import propagator as propagators
from mqctx._propagation.propagator import Propagator
from mqctx.adapters._handler import HandlerDecorator, scope_from
from mqctx.adapters._instrumentation import Hook, Instrumentation, Method

__all__ = ["consume_with_context", "instrument", "publish", "restored", "uninstrument"]


class _Outgoing(msgspec.Struct, eq=False):
    """What `Exchange.publish` reads of a message, with headers of its own.

    `copy.copy` of a Message would share the headers, and takes longer than all else here.
    """

    given: AbstractMessage
    body: bytes
    properties: Any

    @property
    def headers(self) -> Any:
        return self.properties.headers

    def __getattr__(self, name: str) -> Any:
        return getattr(self.given, name)

    def __repr__(self) -> str:
        return repr(self.given)


def publish(
    exchange: AbstractExchange,
    message: AbstractMessage,
    routing_key: str,
    *,
    propagator: Propagator | None = None,
    **options: Any,
) -> Coroutine[Any, Any, Any]:
    """Await `exchange.publish` with the context that is active at this call in the headers.

    `message` and its headers stay as they are: a copy is sent.

    Raises:
        OversizeError: the context takes more bytes than the propagator allows.
        HeadersError: the headers of `message` are not a mapping.
    """
    outgoing = _injected(message, propagator or propagators.default)
    if not options:  # as mostly: to pass none on takes a fifth of all the time spent here
        return exchange.publish(outgoing, routing_key)
    return exchange.publish(outgoing, routing_key, **options)


def _injected(message: AbstractMessage, propagator: Propagator) -> AbstractMessage:
    properties = message.properties  # made anew at each access
    outgoing = _Outgoing(message, message.body, properties)
    properties.headers = propagator.inject_into(message.headers, outgoing, _set_property)
    return outgoing  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # all that is read of one


def _set_property(outgoing: _Outgoing, name: str, text: str) -> None:
    if getattr(outgoing.given, name) is None:  # in `properties`, aio-pika has put an id of its own
        setattr(outgoing.properties, name, text)


consume_with_context = HandlerDecorator(-1, "message", awaited_by_client=True)
"""Decorate a `(message)` callback, sync or `async def`, to run in its message's context."""


def restored(message: AbstractIncomingMessage, /, *, propagator: Propagator | None = None) -> Scope:
    """Return a `with` block inside exactly the context that `message` brought.

    For `async for message in queue.iterator()` and `queue.get`.
    """
    return scope_from(message.headers, propagator, message)


_blocks: WeakKeyDictionary[Any, Scope | None] = WeakKeyDictionary()
"""The open `async with` blocks of iterators and ProcessContexts, with the scope in each."""
_instrumentation = Instrumentation(Connection, Channel, busy=lambda: bool(_blocks))


def _around_publish(original: Method) -> Method:
    def publish(self: Exchange, message: Any, *args: Any, **options: Any) -> Any:
        if isinstance(message, AbstractMessage):  # not _Outgoing: that one has its context
            propagator = _instrumentation.propagator_for(_owners(self))
            if propagator is not None:
                message = _injected(message, propagator)
        return original(self, message, *args, **options)

    return publish


def _around_consume(original: Method) -> Method:
    # On Queue, whose `consume` RobustQueue calls again with the application's own callback after
    # each reconnect.
    async def consume(self: Queue, callback: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(getattr(callback, "__self__", None), QueueIterator):
            callback = consume_with_context.hook(
                callback, lambda: _instrumentation.propagator_for(_owners(self))
            )
        return await original(self, callback, *args, **options)

    return consume


def _around_enter(original: Method) -> Method:
    async def enter(self: Any) -> Any:
        entered = await original(self)
        _blocks[self] = None
        if isinstance(self, ProcessContext):
            _enter(self, self.message)
        return entered

    return enter


def _around_next(original: Method) -> Method:
    # Without `async with` nobody tells when the body of the loop is left: no scope then.
    async def advance(self: Any) -> Any:
        _leave(self)
        message = await original(self)
        if self in _blocks:
            _enter(self, message)
        return message

    return advance


def _around_exit(original: Method) -> Method:
    async def leave(self: Any, *error: Any) -> Any:
        try:
            return await original(self, *error)
        finally:
            _leave(self)
            _blocks.pop(self, None)
            _instrumentation.tidy()

    return leave


def _enter(block: Any, message: AbstractIncomingMessage) -> None:
    propagator = _instrumentation.propagator_for(_carriers(message))
    if propagator is not None and restored_here(message.headers) is None:
        _blocks[block] = scope = scope_from(message.headers, propagator, message)
        scope.__enter__()


def _leave(block: Any) -> None:
    scope = _blocks.get(block)
    if scope is not None:
        _blocks[block] = None
        scope.__exit__(None, None, None)


def _owners(user: Any) -> Iterator[object]:
    yield user.channel
    yield user.channel._connection


def _carriers(message: Any) -> Iterator[object]:
    """Iterate over the targets that the message came through: it knows aiormq's objects only."""
    for target in _instrumentation.targets:
        known: Any = target
        connection = known._connection if isinstance(target, Channel) else known
        transport = connection.transport  # None after the connection was closed
        came = transport and transport.connection is message.channel.connection
        if came and (connection is known or known.number == message.channel.number):
            yield target


_instrumentation.use(
    Hook(Exchange, "publish", _around_publish),
    Hook(Queue, "consume", _around_consume),
    Hook(QueueIterator, "__aenter__", _around_enter),
    Hook(QueueIterator, "__anext__", _around_next),
    Hook(RobustQueueIterator, "__anext__", _around_next),
    Hook(QueueIterator, "__aexit__", _around_exit),
    Hook(ProcessContext, "__aenter__", _around_enter),
    Hook(ProcessContext, "__aexit__", _around_exit),
)
instrument = _instrumentation.instrument
uninstrument = _instrumentation.uninstrument
