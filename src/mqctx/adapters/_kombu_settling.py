"""Dead-letter the messages of kombu with the reason."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any

from kombu.message import Message
from kombu.transport import pyamqp

from mqctx._failures.record import Failure
from mqctx._failures.recording import Origin
from mqctx._propagation.propagator import Propagator
from mqctx.adapters._attached import Consumed, attached
from mqctx.adapters._copy import Received, attempt, copy, destination
from mqctx.adapters._dead_letter import DeadLetter, as_dead_letter
from mqctx.adapters._handler import SettleCalls, context_from, headers_of
from mqctx.adapters._kombu_outbox import Outboxes
from mqctx.adapters._kombu_properties import property_of
from mqctx.adapters._kombu_raw import as_received, keep_properties
from mqctx.adapters._kombu_reports import origin_of
from mqctx.adapters._settled import SyncBlock, Then, Waiting, message_of, settler_by
from mqctx.adapters._settling import NotSentError
from mqctx.errors import HandlerError
from mqctx.formats._format import FAILURE

__all__ = ["DeadLetter", "settled", "settler"]


class _Delivery(ABC):
    """A message of kombu, and the verbs that settle it."""

    def __init__(self, message: Any, dead_letter: DeadLetter) -> None:
        self.message = message
        self._dead_letter = dead_letter
        self._info: dict[str, Any] = message.delivery_info
        no_ack = getattr(message.channel, "no_ack_consumers", None) or ()
        if message.acknowledged or self._info.get("consumer_tag") in no_ack:
            raise HandlerError(
                "dead_letter: the message is settled already, or consumed with no_ack; consume "
                "without it"
            )

    @property
    def _queue(self) -> str | None:
        # Else the one that `instrument()` has seen being consumed.
        consumed = attached(self.message.channel, Consumed)
        return self._dead_letter.queue or consumed.get(self._info.get("consumer_tag"))

    @property
    def is_settled(self) -> bool:
        return bool(self.message.acknowledged)

    def ack(self) -> None:
        self.message.ack()

    def reject(self) -> None:
        self.message.reject()

    def requeue(self) -> None:
        # If the channel is gone, the broker requeues it.
        with suppress(Exception):
            self.message.requeue()

    def send(self, failure: Failure, then: Then) -> None:
        try:
            self._send(failure)
        except Exception as error:  # noqa: BLE001 - whatever it is, the message must be kept
            problem: Exception | None = error
        else:
            problem = None
        then(problem)

    @abstractmethod
    def _send(self, failure: Failure) -> None:
        """Send a copy; raise if it was not confirmed, if the transport knows."""


class AmqpDelivery(_Delivery):
    """On py-amqp. The copies have a connection of their own."""

    @property
    def origin(self) -> Origin:
        """The known facts about the message."""
        return self._received().origin(self._queue)

    @property
    def has_ended(self) -> bool:
        """Whether its consumer or its channel is gone."""
        channel, tag = self.message.channel, self._info.get("consumer_tag")
        if channel.connection is None or not channel.is_open:
            return True
        return tag is not None and tag not in channel.callbacks

    def _send(self, failure: Failure) -> None:
        connection = self.message.channel.connection
        client = self._dead_letter.connection or connection.client
        outbox = attached(connection, Outboxes).of(client, connection)
        outbox.send(
            copy(
                self._received(),
                self._dead_letter,
                failure,
                user=outbox.user,
                frame_max=outbox.frame_max(),
            )
        )

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` after so many seconds, in the thread that drains events."""
        connection = self.message.channel.connection
        attached(connection, Waiting).add(seconds, then)
        if "drain_events" not in vars(connection):
            _wake_in_time(connection)

    def _received(self) -> Received:
        properties, body = as_received(self.message)
        return Received(
            properties,
            bytes(body or b""),
            self._info.get("exchange") or "",
            self._info.get("routing_key") or "",
            bool(self._info.get("redelivered")),
        )


class VirtualDelivery(_Delivery):
    """On Redis, memory and others without confirms: the copy is sent first."""

    @property
    def origin(self) -> Origin:
        """The known facts about the message."""
        headers, payload = self.message.headers, self.message._raw
        redelivered = headers.get("redelivered") or payload.get("redelivered")
        return Origin(
            exchange=self._info.get("exchange"),
            routing_key=self._info.get("routing_key"),
            queue=self._queue,
            attempt=attempt(headers, redelivered=bool(redelivered)),
            earlier=headers.get(FAILURE),
        )

    @property
    def has_ended(self) -> bool:
        """Whether its channel is gone."""
        return bool(self.message.channel.closed)

    def _send(self, failure: Failure) -> None:
        message, channel, to = self.message, self.message.channel, self._dead_letter.exchange
        key = destination(
            self._dead_letter, self._info.get("exchange") or "", self._info.get("routing_key") or ""
        )
        # Nothing is returned here: what no queue is bound for would be dropped without a word.
        if to and not channel.typeof(to).lookup(channel.get_table(to), to, key, None):
            raise NotSentError("no queue is bound for it")
        headers = {**_without(message.headers, "CC", "BCC"), FAILURE: failure.to_header()}
        # kombu fills in the delivery's own; what the message came with does not count any more.
        properties: dict[str, Any] = _without(message.properties, "expiration")
        properties["delivery_info"] = {}
        prepared = channel.prepare_message(
            self._body(),
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            headers=headers,
            properties=properties,
        )
        channel.basic_publish(prepared, to, key)

    def _body(self) -> Any:
        """Return the body as it was, before kombu decompressed it."""
        raw = self.message._raw
        encoding = raw["properties"].get("body_encoding")
        return self.message.channel.decode_body(raw["body"], encoding) if raw["body"] else ""

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` after so many seconds, when the next block ends."""
        attached(self.message.channel.connection, Waiting).add(seconds, then)


def _without(table: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name not in names}


def _wake_in_time(connection: Any) -> None:
    """Let `drain_events` take up what waits, as long as something does."""
    drain_events, waiting = connection.drain_events, attached(connection, Waiting)

    def drain(timeout: float | None = None) -> Any:
        end = inf if timeout is None else time.monotonic() + timeout
        while True:
            waiting.run()
            left = max(0.0, end - time.monotonic())
            pause = waiting.seconds()
            if pause is None:
                # Nothing waits any more: from the next call on, it is the connection's own again.
                connection.__dict__.pop("drain_events", None)
                return drain_events(timeout=None if timeout is None else left)
            try:
                return drain_events(timeout=min(pause, left))
            except TimeoutError:
                # Ours, unless the caller's time is up too.
                if time.monotonic() >= end:
                    raise

    connection.drain_events = drain


class _Block(SyncBlock):
    """A block that lets messages that are held have another try when it ends."""

    def __exit__(self, *error: Any) -> bool:
        connection = self.delivery.message.channel.connection
        swallowed = super().__exit__(*error)
        if connection is not None:
            attached(connection, Waiting).run()
        return swallowed


def settled(
    message: Message,
    /,
    *,
    dead_letter: str | DeadLetter,
    propagator: Propagator | None = None,
) -> SyncBlock:
    """Return a `with` block inside the context of `message` that settles it at its end.

    For `SimpleQueue.get`, `Queue.get` and loops of your own. An `Exception` that is raised in it is
    dead-lettered and does not leave the block, so that the loop goes on. The code in it must not
    settle the message.

    Raises:
        HandlerError: the message is settled already, or its consumer has `no_ack`.
        ConfigurationError: `dead_letter` cannot work.
    """
    return _open(message, as_dead_letter(dead_letter), propagator)


def settler(dead_letter: str | DeadLetter, propagator: Propagator | None) -> SettleCalls:
    """Return what makes handlers settle their messages."""
    return settler_by(_open, partial(message_of, Message), dead_letter, propagator)


def _open(
    message: Any,
    dead_letter: DeadLetter,
    propagator: Propagator | None,
    handler: str | None = None,
) -> SyncBlock:
    headers = headers_of(message)
    brought = context_from(headers, propagator, message, property_of)
    kind = AmqpDelivery if isinstance(message.channel, pyamqp.Channel) else VirtualDelivery
    origin = partial(origin_of, message, ())
    delivery = kind(message, dead_letter)
    return _Block(delivery, dead_letter, brought, headers, propagator, handler, origin)


keep_properties()
