"""Dead-letter the messages of pika with the reason."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from pika import BasicProperties, spec
from pika.adapters.blocking_connection import BlockingChannel
from pika.channel import Channel
from pika.exceptions import AMQPError

from mqctx._core.context import Context
from mqctx._core.isolation import Arguments
from mqctx._failures.record import Failure
from mqctx._failures.recording import Origin
from mqctx._propagation.propagator import Propagator
from mqctx.adapters._attached import Consumed, attached
from mqctx.adapters._copy import Copy, Received, copy
from mqctx.adapters._dead_letter import DeadLetter, as_dead_letter
from mqctx.adapters._handler import SettleCalls, context_from, headers_of
from mqctx.adapters._pika_outbox import BlockingOutbox, CallbackOutbox
from mqctx.adapters._pika_properties import keep_properties, raw_properties
from mqctx.adapters._pika_reports import origin_of
from mqctx.adapters._pika_watch import Watch
from mqctx.adapters._settled import SyncBlock, Then, Waiting, settler_by
from mqctx.adapters._settling import NotSentError, logger
from mqctx.errors import HandlerError

__all__ = ["DeadLetter", "settled", "settler"]


class _Delivery:
    """A message of pika, and the verbs that settle it."""

    def __init__(
        self, channel: Any, method: Any, properties: Any, body: bytes, dead_letter: DeadLetter
    ) -> None:
        self.channel = channel
        # The channel below a BlockingChannel: all that is settled passes there.
        self._impl: Any = getattr(channel, "_impl", channel)
        self._tag: int = method.delivery_tag
        self._consumer: str | None = getattr(method, "consumer_tag", None)
        self._method, self._properties, self._body = method, properties, body
        self._dead_letter = dead_letter
        if self._consumer in self._impl._consumers_with_noack:
            raise HandlerError(
                "dead_letter: a consumer without acknowledgements has none to settle by; consume "
                "without auto_ack"
            )
        self._watch = attached(self._impl, Watch)
        self._watch.expect(self._impl, self._tag)

    @property
    def origin(self) -> Origin:
        # Else the one that `instrument()` has seen being consumed.
        queue = self._dead_letter.queue or attached(self._impl, Consumed).get(self._consumer)
        return self._received().origin(queue)

    @property
    def is_settled(self) -> bool:
        return self._watch.is_settled(self._tag)

    @property
    def has_ended(self) -> bool:
        gone = self._consumer is not None and self._consumer not in self._impl.consumer_tags
        return gone or not self._impl.is_open

    def requeue(self) -> None:
        # If the channel is gone, the broker requeues it.
        with suppress(AMQPError):
            self.channel.basic_nack(self._tag, requeue=True)

    def _received(self) -> Received:
        return Received(
            raw_properties(self._properties),
            self._body,
            self._method.exchange,
            self._method.routing_key,
            self._method.redelivered,
        )

    def _copy(self, failure: Failure, impl_connection: Any) -> Copy:
        parameters = impl_connection.params
        return copy(
            self._received(),
            self._dead_letter,
            failure,
            user=getattr(parameters.credentials, "username", ""),
            frame_max=parameters.frame_max,
        )


class BlockingDelivery(_Delivery):
    """On a BlockingConnection, whose errors a handler may raise."""

    def ack(self) -> None:
        """Acknowledge it."""
        self.channel.basic_ack(self._tag)

    def reject(self) -> None:
        """Reject it, not to be delivered again."""
        self.channel.basic_reject(self._tag, requeue=False)

    def send(self, failure: Failure, then: Then) -> None:
        """Send a copy, wait for its confirm, and call `then`."""
        try:
            connection = self._dead_letter.connection or self.channel.connection
            what = self._copy(failure, connection._impl)
            attached(connection, BlockingOutbox).send(connection, what)
        except Exception as error:  # whatever it is, the message must be kept
            if not self.channel.connection.is_open:
                raise  # else a consumer would end without a word
            problem: Exception | None = error
        else:
            problem = None
        then(problem)

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` after so many seconds, between two handlers or when the next block ends."""
        # Both: a timer runs only when the connection processes events, which a loop may never do.
        waiting = attached(self.channel.connection, Waiting)
        waiting.add(seconds, then)
        self.channel.connection.call_later(seconds, waiting.run)


class CallbackDelivery(_Delivery):
    """On another connection, which an error of a handler would close."""

    def ack(self) -> None:
        """Acknowledge it."""
        self._settle(self.channel.basic_ack)

    def reject(self) -> None:
        """Reject it, not to be delivered again."""
        self._settle(self.channel.basic_reject, requeue=False)

    def send(self, failure: Failure, then: Then) -> None:
        """Send a copy, and call `then` once it is known how that went."""
        connection = self._dead_letter.connection or self.channel.connection
        try:
            what = self._copy(failure, connection)
        except NotSentError as error:
            then(error)
        else:
            attached(connection, CallbackOutbox).send(connection, what, then)

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` after so many seconds, on the connection's loop."""
        self.channel.connection._adapter_call_later(seconds, then)

    def _settle(self, verb: Callable[..., object], **options: Any) -> None:
        try:
            verb(self._tag, **options)
        except AMQPError as error:
            logger.warning("a message could not be settled, and will come again: %r", error)


class _Block(SyncBlock):
    """A block that lets messages that are held have another try when it ends."""

    def __exit__(self, *error: Any) -> bool:
        swallowed = super().__exit__(*error)
        if isinstance(self.delivery, BlockingDelivery):
            attached(self.delivery.channel.connection, Waiting).run()
        return swallowed


class _NoBlock(SyncBlock):
    """The block of no message, as `basic_get` of an empty queue returns it."""

    def __init__(self) -> None:
        super().__init__(None, DeadLetter("none"), Context(), None, None)

    def __exit__(self, *_: object) -> None:  # type: ignore[override]  # it swallows nothing
        self.leave()


def settled(
    channel: BlockingChannel | Channel,
    method: spec.Basic.Deliver | spec.Basic.GetOk | None,
    properties: BasicProperties | None,
    body: bytes | None,
    /,
    *,
    dead_letter: str | DeadLetter,
    propagator: Propagator | None = None,
) -> SyncBlock:
    """Return a `with` block inside the context of a message that settles it at its end.

    For `channel.consume(...)` and `basic_get`. An `Exception` that is raised in it is dead-lettered
    and does not leave the block, so that the loop goes on. The code in it must not settle the
    message. Without a message it settles nothing, and lets everything pass.

    Raises:
        HandlerError: the message was consumed with `auto_ack`. That of a `basic_get` does not say.
        ConfigurationError: `dead_letter` cannot work.
    """
    chosen = as_dead_letter(dead_letter)
    if method is None:
        return _NoBlock()
    return _open((channel, method, properties, body), chosen, propagator)


def settler(dead_letter: str | DeadLetter, propagator: Propagator | None) -> SettleCalls:
    """Return what makes handlers settle their messages."""
    return settler_by(_open, _parts_in, dead_letter, propagator)


def _parts_in(arguments: Arguments) -> Arguments:
    """Return channel, method, properties and body among the arguments of a handler."""
    kinds: tuple[Any, ...] = (
        (BlockingChannel, Channel),
        (spec.Basic.Deliver, spec.Basic.GetOk),
        BasicProperties,
        bytes,
    )
    parts = tuple(
        next((each for each in arguments if isinstance(each, kind)), None) for kind in kinds
    )
    if None in parts:
        raise HandlerError("dead_letter: a handler was called without channel, method or message")
    return parts


def _open(
    parts: Arguments,
    dead_letter: DeadLetter,
    propagator: Propagator | None,
    handler: str | None = None,
) -> SyncBlock:
    channel, method, properties, body = parts
    headers = headers_of(properties)
    brought = context_from(headers, propagator, properties)
    kind = BlockingDelivery if isinstance(channel, BlockingChannel) else CallbackDelivery
    delivery = kind(channel, method, properties, body, dead_letter)
    origin = partial(origin_of, properties, (channel, method))
    return _Block(delivery, dead_letter, brought, headers, propagator, handler, origin)


keep_properties()
