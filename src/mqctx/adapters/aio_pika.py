"""Context through aio-pika: plain and robust connections."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

import msgspec
from aio_pika import Channel, Connection, Exchange, Message, Queue
from aio_pika.abc import AbstractExchange, AbstractIncomingMessage, AbstractMessage, TimeoutType
from aio_pika.patterns import RPC
from aio_pika.queue import QueueIterator
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from mqctx._core.isolation import mark_async
from mqctx._core.runs import note_failed, note_handler
from mqctx._core.scope import Scope
from mqctx._lazy import names_of, when_called
from mqctx._propagation.propagator import Propagator, registry
from mqctx.adapters._aio_pika_blocks import OpenBlocks
from mqctx.adapters._aio_pika_copy import copied_message
from mqctx.adapters._aio_pika_iterators import BlockHooks, owners
from mqctx.adapters._aio_pika_reports import origin_of
from mqctx.adapters._attached import Consumed, attached
from mqctx.adapters._handler import HandlerDecorator, headers_of, scope_from
from mqctx.adapters._instrumentation import (
    Hook,
    InjectedHeaders,
    Instrument,
    Instrumentation,
    Method,
    Uninstrument,
)
from mqctx.errors import HeadersError

if TYPE_CHECKING:
    from mqctx.adapters._aio_pika_settling import settled
    from mqctx.adapters._dead_letter import DeadLetter

__all__ = [
    "DeadLetter",
    "consume_with_context",
    "instrument",
    "publish",
    "restored",
    "settled",
    "uninstrument",
]


@overload
def publish(
    exchange: AbstractExchange,
    message: AbstractMessage,
    routing_key: str,
    *,
    mandatory: Literal[False],
    immediate: bool = False,
    timeout: TimeoutType = None,
    propagator: Propagator | None = None,
) -> Coroutine[Any, Any, Basic.Ack | None]: ...


@overload
def publish(
    exchange: AbstractExchange,
    message: AbstractMessage,
    routing_key: str,
    *,
    mandatory: bool = True,
    immediate: bool = False,
    timeout: TimeoutType = None,
    propagator: Propagator | None = None,
) -> Coroutine[Any, Any, Basic.Ack | DeliveredMessage | None]: ...


def publish(
    exchange: AbstractExchange,
    message: AbstractMessage,
    routing_key: str,
    *,
    mandatory: bool = True,
    immediate: bool = False,
    timeout: TimeoutType = None,
    propagator: Propagator | None = None,
) -> Coroutine[Any, Any, Basic.Ack | DeliveredMessage | None]:
    """Await `exchange.publish` with the context that is active at this call in the headers.

    `message` and its headers stay as they are: a copy is sent. An exchange class of your own gets
    a copy of the same type, which it may change. `mandatory`, `immediate` and `timeout` are passed
    on if they differ from the defaults, which are the client's.

    Raises:
        OversizeError: the values set in this process take more bytes than the propagator allows.
        HeadersError: the headers of `message` are not a mapping.
    """
    send = exchange.publish
    method: Any = send
    try:  # `getattr` with a default would be one more call for each message
        by_client = method.__func__ is _CLIENTS_PUBLISH
    except AttributeError:  # no method: a mock, or a function that was set on this exchange
        by_client = False
    outgoing = _injected(message, propagator or registry.propagator, by_client=by_client)
    if mandatory and not immediate and timeout is None:  # as mostly: to pass none on is cheaper
        return send(outgoing, routing_key)
    return send(outgoing, routing_key, mandatory=mandatory, immediate=immediate, timeout=timeout)


mark_async(publish)  # for mocks; as an `async def` it would take the context when first awaited
_CLIENTS_PUBLISH = Exchange.publish


class _Outgoing(msgspec.Struct, eq=False):
    """The parts of a message that the client's own `Exchange.publish` reads, with new headers.

    A copy of a Message takes longer than everything else here.
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


def _injected(
    message: AbstractMessage, propagator: Propagator, *, by_client: bool, trim: bool = False
) -> AbstractMessage:
    """Return the message to publish in place of `message`: a full copy unless `by_client`."""
    try:
        headers = message.headers
    except AttributeError:
        return message  # without headers there is no place for a context
    if not by_client and (copied := copied_message(message)) is not None:
        injected = propagator.inject_into(headers, copied, _set_missing, trim=trim)
        # A hook further down leaves these alone.
        own = InjectedHeaders(injected) if _instrumentation.in_place else injected
        object.__setattr__(copied, "headers", own)
        return copied
    properties = message.properties  # made anew at each access
    outgoing = _Outgoing(message, message.body, properties)
    properties.headers = propagator.inject_into(headers, outgoing, _set_property, trim=trim)
    return outgoing  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # all that the client reads of one


def _set_property(outgoing: _Outgoing, name: str, text: str) -> None:
    if getattr(outgoing.given, name) is None:  # `properties` has an id that aio-pika made
        setattr(outgoing.properties, name, text)


def _set_missing(copied: AbstractMessage, name: str, text: str) -> None:
    if getattr(copied, name) is None:
        object.__setattr__(copied, name, text)


# Loaded for those who ask: it takes a while, and hooks the client to keep what it drops.
_SETTLING = "_aio_pika_settling"
__getattr__: Callable[[str], Any] = names_of(
    __name__, __package__, {"DeadLetter": _SETTLING, "settled": _SETTLING}
)
consume_with_context: HandlerDecorator = HandlerDecorator(
    "message",
    carrier="message",
    kind=AbstractMessage,
    awaited_by_client=True,
    origin_of=origin_of,
    settler=when_called(f"{__package__}.{_SETTLING}", "settler"),
)
"""Decorate a `(message)` callback, sync or `async def`, to run in its message's context."""


def restored(message: AbstractIncomingMessage, /, *, propagator: Propagator | None = None) -> Scope:
    """Return a `with` block inside exactly the context that `message` brought.

    For `async for message in queue.iterator()` and `queue.get`.
    """
    return scope_from(headers_of(message), propagator, message, origin_of=origin_of)


_blocks = OpenBlocks()
_instrumentation = Instrumentation(Connection, Channel, busy=lambda: bool(_blocks))


def _around_publish(original: Method) -> Method:
    def publish(self: Exchange, message: Any, *args: object, **options: object) -> object:
        if _is_bare(message):
            propagator = _instrumentation.propagator_for(self, owners)
            if propagator is not None:
                by_client, trim = original is _CLIENTS_PUBLISH, _is_reply(message)
                try:  # noqa: SIM105 - three calls less for each message
                    message = _injected(message, propagator, by_client=by_client, trim=trim)
                except HeadersError:
                    pass  # the client raises an error of its own
        return original(self, message, *args, **options)

    return publish


def _is_reply(message: object) -> bool:
    """Tell whether `aio_pika.patterns.RPC` publishes it by itself, where an error is lost."""
    return getattr(message, "type", None) in ("result", "error")  # those of RPCMessageType


def _around_execute(original: Method) -> Method:
    # The server of `aio_pika.patterns.RPC` sends what is raised to the caller.
    async def execute(*arguments: Any) -> object:
        *_, function, _payload = arguments
        note_handler(function)
        try:
            return await original(*arguments)
        except BaseException as error:
            note_failed(error)
            raise

    return execute


def _is_bare(message: object) -> bool:
    """Tell whether it is a message that has no context from `publish` yet."""
    # The usual type is checked first; the abstract class takes ten times as long.
    return (type(message) is Message or isinstance(message, AbstractMessage)) and (
        type(getattr(message, "headers", None)) is not InjectedHeaders
    )


def _around_consume(original: Method) -> Method:
    # On Queue, whose `consume` RobustQueue calls again with the application's own callback after
    # each reconnect.
    async def consume(self: Queue, callback: object, *args: object, **options: object) -> object:
        if not isinstance(getattr(callback, "__self__", None), QueueIterator):
            callback = consume_with_context.hook(
                callback, partial(_instrumentation.propagator_for, self, owners)
            )
        tag = await original(self, callback, *args, **options)
        attached(await self.channel.get_underlay_channel(), Consumed)[tag] = self.name
        return tag

    return consume


_instrumentation.use(
    Hook(Exchange, "publish", _around_publish),
    Hook(Queue, "consume", _around_consume),
    Hook(RPC, "execute", _around_execute),
    *BlockHooks(_instrumentation, _blocks),
)
instrument: Instrument = _instrumentation.instrument
uninstrument: Uninstrument = _instrumentation.uninstrument
