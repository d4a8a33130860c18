"""Dead-letter the messages of aio-pika with the reason."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

from aio_pika import IncomingMessage
from aio_pika.abc import AbstractIncomingMessage
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError
from pamqp.commands import Basic
from pamqp.header import ContentHeader as PamqpHeader

from mqctx._amqp.content_header import ContentHeader
from mqctx._amqp.tolerant import readable_properties
from mqctx._core.isolation import is_async
from mqctx._failures.record import Failure
from mqctx._failures.recording import Origin
from mqctx._propagation.propagator import Propagator
from mqctx.adapters._aio_pika_reports import origin_of
from mqctx.adapters._attached import Consumed, attached
from mqctx.adapters._copy import CONFIRM_SECONDS, Copy, Received, copy
from mqctx.adapters._dead_letter import DeadLetter, as_dead_letter
from mqctx.adapters._handler import SettleCalls, context_from, headers_of
from mqctx.adapters._settled import Open, message_of, settle_calls, settler_by
from mqctx.adapters._settled_async import AsyncBlock, settle_async_calls
from mqctx.adapters._settling import NotSentError
from mqctx.errors import HandlerError

__all__ = ["DeadLetter", "settled", "settler"]

_BEFORE_PROPERTIES: Final = 12
"""The class and the size of the body, in front of the properties (AMQP 0-9-1, 4.2.6.1)."""


class _AsReceived(dict[str, Any]):
    """The headers of a message, with the bytes of its properties, which aio-pika drops."""

    properties: bytes


def _keep_properties() -> None:
    """Let messages that arrive from now on keep the bytes of their properties."""
    unmarshal, construct = PamqpHeader.unmarshal, IncomingMessage.__init__

    def unmarshal_and_keep(self: Any, data: bytes) -> None:
        self.mqctx_properties = raw = bytes(data[_BEFORE_PROPERTIES:])
        try:
            unmarshal(self, data)
        except Exception:  # noqa: BLE001 - of many kinds; aiormq would close the connection
            # It has read what stands before the properties.
            for name, value in readable_properties(raw).items():
                # pamqp has the specification's names, but for this one.
                setattr(self.properties, "message_type" if name == "type" else name, value)

    def construct_and_keep(self: Any, message: Any, no_ack: bool = False) -> None:
        construct(self, message, no_ack)
        kept = getattr(message.header, "mqctx_properties", None)
        if kept is not None:
            headers = _AsReceived(self.headers)
            headers.properties = kept
            object.__setattr__(self, "headers", headers)  # the message may be locked

    hooked: Any = PamqpHeader
    hooked.unmarshal = unmarshal_and_keep
    hooked = IncomingMessage
    hooked.__init__ = construct_and_keep


def _properties(message: AbstractIncomingMessage) -> bytes:
    """Return the bytes of a message's properties; of one from before they were kept, its values."""
    headers: object = message.headers
    if isinstance(headers, _AsReceived):
        return headers.properties
    properties: Any = message.properties
    properties.message_id = message.message_id  # else aio-pika makes one
    return PamqpHeader(properties=properties).marshal()[_BEFORE_PROPERTIES:]


class _AsBytes(Basic.Properties):
    """Properties that are sent as these bytes."""

    def __init__(self, raw: bytes) -> None:
        message_id = ContentHeader(raw).get("message_id")
        # aiormq knows by it which message is returned.
        super().__init__(message_id=message_id if isinstance(message_id, str) else None)
        self._raw = raw

    def marshal(self) -> bytes:
        return self._raw


class _Outbox:
    """A channel of its own for copies, one after another, on a connection."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._channel: Any = None
        self._returned = False

    async def send(self, connection: Any, what: Copy) -> None:
        """Publish a copy.

        Raises:
            NotSentError: it was not routed. Any other exception: it was not confirmed.
        """
        # One at a time: a return names no delivery tag, so it must be the one that is waited for.
        async with self._lock:
            channel = await self._open(connection)
            self._returned = False
            try:
                result = await channel.basic_publish(
                    what.body,
                    exchange=what.exchange,
                    routing_key=what.routing_key,
                    properties=_AsBytes(what.properties),
                    mandatory=True,
                    timeout=CONFIRM_SECONDS,
                )
            except BaseException:
                # A late answer would be taken for the answer to the next message.
                self._channel = None
                await asyncio.gather(channel.close(), return_exceptions=True)
                raise
            was_routed = not self._returned and not isinstance(result, DeliveredMessage)
        if not was_routed:
            raise NotSentError("it was not routed to any queue")

    async def _open(self, connection: Any) -> Any:
        if self._channel is None or self._channel.is_closed:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=False)
            # aiormq tells nobody of a message without id that is returned. Nothing but what is
            # returned has content on this channel. (aiormq 6 has taken `_on_return_frame` already.)
            read_content = channel._read_content

            async def note_return(frame: Any, header: Any) -> Any:
                self._returned = True
                return await read_content(frame, header)

            channel._read_content = note_return
            self._channel = channel
        return self._channel


class _Delivery:
    """A message of aio-pika, and the verbs that settle it."""

    def __init__(self, message: AbstractIncomingMessage, dead_letter: DeadLetter) -> None:
        if message.processed:
            raise HandlerError(
                "dead_letter: the message is settled already, as all are that are consumed with "
                "no_ack; consume without it"
            )
        self._message = message
        self._dead_letter = dead_letter

    @property
    def origin(self) -> Origin:
        return self._received().origin(self._dead_letter.queue or self._consumed())

    @property
    def is_settled(self) -> bool:
        return self._message.processed

    @property
    def has_ended(self) -> bool:
        try:
            channel: Any = self._message.channel
        except ChannelInvalidStateError:
            return True
        tag = self._message.consumer_tag
        return bool(channel.is_closed) or (tag is not None and tag not in channel.consumers)

    def _consumed(self) -> str | None:
        """Return the queue, if `instrument()` has seen it being consumed."""
        with suppress(ChannelInvalidStateError):
            return attached(self._message.channel, Consumed).get(self._message.consumer_tag)
        return None

    async def ack(self) -> None:
        await self._message.ack()

    async def reject(self) -> None:
        await self._message.reject(requeue=False)

    async def requeue(self) -> None:
        # Not by reject, which RabbitMQ 4.3 counts as a failure. If the channel is gone, the
        # broker requeues it.
        with suppress(Exception):
            await self._message.nack(requeue=True)

    async def send(self, failure: Failure) -> Exception | None:
        try:
            await self._send(failure)
        except asyncio.CancelledError as error:
            # The handler's task is cancelled, or aiormq has cancelled the future that it awaits.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return NotSentError(f"the channel was closed: {error}")  # aiormq cancels who waits
        except Exception as error:  # noqa: BLE001 - whatever it is, the message must be kept
            return error
        return None

    async def _send(self, failure: Failure) -> None:
        connection = self._connection()
        what = copy(
            self._received(),
            self._dead_letter,
            failure,
            user=connection.url.user or "guest",
            frame_max=connection.connection_tune.frame_max or 0,
        )
        await attached(connection, _Outbox).send(connection, what)

    def _connection(self) -> Any:
        given = self._dead_letter.connection
        if given is None:
            return cast("Any", self._message.channel).connection
        transport = getattr(given, "transport", None)
        if transport is None:
            raise NotSentError("the connection for copies is not open")
        return transport.connection

    def _received(self) -> Received:
        message = self._message
        return Received(
            _properties(message),
            message.body,
            message.exchange or "",
            message.routing_key or "",
            bool(message.redelivered),
        )


def settler(dead_letter: str | DeadLetter, propagator: Propagator | None) -> SettleCalls:
    """Return what makes handlers settle their messages."""
    return settler_by(
        _open, partial(message_of, AbstractIncomingMessage), dead_letter, propagator, settle=_settle
    )


def _settle(handler: Any, open_block: Open) -> Any:
    settle = settle_async_calls if is_async(handler) else settle_calls
    return settle(handler, open_block)


def settled(
    message: AbstractIncomingMessage,
    /,
    *,
    dead_letter: str | DeadLetter,
    propagator: Propagator | None = None,
) -> AsyncBlock:
    """Return an `async with` block inside the context of `message` that settles it at its end.

    For `async for message in queue.iterator()` and `queue.get`. An `Exception` that is raised in it
    is dead-lettered and does not leave the block, so that the loop goes on. The code in it must not
    settle the message.

    Raises:
        HandlerError: the message is settled already, as with `no_ack`.
        ConfigurationError: `dead_letter` cannot work.
    """
    return _open(message, as_dead_letter(dead_letter), propagator)


def _open(
    message: AbstractIncomingMessage,
    dead_letter: DeadLetter,
    propagator: Propagator | None,
    handler: str | None = None,
) -> AsyncBlock:
    """Return the block that settles a message."""
    headers = headers_of(message)
    brought = context_from(headers, propagator, message)
    delivery = _Delivery(message, dead_letter)
    origin = partial(origin_of, message, ())
    return AsyncBlock(delivery, dead_letter, brought, headers, propagator, handler, origin)


_keep_properties()
