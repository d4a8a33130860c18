"""Publish messages with their headers as bytes, each confirmed and routed, many at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import filterfalse
from typing import Any, Final

from pika import spec
from pika.adapters.blocking_connection import BlockingConnection

from mqctx._amqp.content_header import ContentHeader

from ._arrivals import BEFORE_PROPERTIES, name_of
from ._wire import RawProperties


class Fate(Enum):
    """How a published message ended."""

    ARRIVED = "arrived"
    """It was routed, and its queues have it."""
    UNROUTED = "unrouted"
    """No queue is bound for it."""
    REJECTED = "rejected"
    """A queue that is full, or that failed, did not take it."""
    REFUSED = "refused"
    """The broker closed the channel over it."""
    UNKNOWN = "unknown"
    """The broker closed the channel before it said anything: it may have arrived, or not."""


_FATES: Final = {spec.Basic.Ack: Fate.ARRIVED, spec.Basic.Nack: Fate.REJECTED}
"""The meaning of the broker's answers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of the message with this number, and the broker's words for it."""

    number: int
    fate: Fate
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Sent:
    exchange: str
    routing_key: str
    header: ContentHeader
    body: bytes

    def is_like(self, address: tuple[str | bytes, str | bytes], body: bytes) -> bool:
        return (self.exchange, self.routing_key) == tuple(
            map(name_of, address)
        ) and self.body == body


class Publisher:
    """Publishes on a channel of its own, which it opens again after the broker closed it.

    Nothing that is hooked into pika adds to what it sends.
    """

    def __init__(self, connection: BlockingConnection) -> None:
        self._connection: Any = connection  # whose stubs lack what is private
        self._outstanding: dict[int, _Sent] = {}
        self._returned: dict[int, Outcome] = {}
        self._outcomes: list[Outcome] = []
        self._last = 0
        self._before = 0  # so many were sent on earlier channels: each counts from 1
        self._channel: Any = None

    @property
    def outstanding(self) -> int:
        """How many messages the broker has not answered for."""
        return len(self._outstanding)

    @property
    def most_header(self) -> int:
        """The most bytes of a header: it has to fit into one frame."""
        # pika's word for a frame without its own eight bytes, as it was negotiated.
        return int(self._connection._impl._body_max_length) - BEFORE_PROPERTIES

    def send(self, exchange: str, routing_key: str, header: ContentHeader, body: bytes) -> int:
        """Publish, without waiting, and return the number under which `outcomes` speaks of it."""
        channel = self._channel or self._open_channel()
        self._last += 1
        self._outstanding[self._last] = _Sent(exchange, routing_key, header, body)
        method = spec.Basic.Publish(  # type: ignore[no-untyped-call] # generated code of pika's
            exchange=_as_wire(exchange), routing_key=_as_wire(routing_key), mandatory=True
        )
        # Not `basic_publish`, into which mqctx and OpenTelemetry hook themselves to add headers.
        channel._send_method(method, (RawProperties(header), body))
        return self._last

    def outcomes(self, seconds: float = 0) -> list[Outcome]:
        """Return what became known since the last call, within that time if nothing has.

        Raises:
            pika.exceptions.AMQPError: the connection is lost.
        """
        if not self._outcomes:
            self._connection.process_data_events(seconds)
        known, self._outcomes = self._outcomes, []
        return known

    def rest(self) -> Iterator[Outcome]:
        """Yield the outcomes of all messages that are outstanding.

        Raises:
            pika.exceptions.AMQPError: the connection is lost.
        """
        while self._outstanding or self._outcomes:
            yield from self.outcomes(1)

    def publish(
        self, exchange: str, routing_key: str, header: ContentHeader, body: bytes
    ) -> Outcome:
        """Publish one message, while no other is outstanding, and wait for its outcome."""
        self.send(exchange, routing_key, header, body)
        (outcome,) = self.rest()
        return outcome

    def _open_channel(self) -> Any:
        # The channel that pika's blocking one wraps: that one waits after each message.
        channel: Any = self._connection.channel()._impl
        selected: list[object] = []
        channel.add_on_close_callback(self._on_close)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, selected.append)
        # Without the broker's answer, the first messages could be unconfirmed for ever.
        while not selected:
            self._connection.process_data_events(0.1)
        self._channel, self._before = channel, self._last
        return channel

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        tag = self._before + method.delivery_tag
        for number in self._up_to(tag) if method.multiple else [tag]:
            del self._outstanding[number]
            self._tell(self._returned.pop(number, Outcome(number, _FATES[type(method)])))

    def _up_to(self, tag: int) -> list[int]:
        """Return what `multiple` confirms: all up to this one, as with a client's `basic.ack`."""
        return [number for number in self._outstanding if number <= tag]

    def _on_return(self, _: object, method: Any, properties: Any, body: bytes) -> None:
        """Find the message that came back. Its confirmation follows, for which it need not wait."""
        address = method.exchange, method.routing_key
        same = [n for n, sent in self._outstanding.items() if sent.is_like(address, body)]
        meant = self._meant(same, properties.header)
        # If it is unknown which it was, none of them may be taken off its queue.
        numbers, fate = (same, Fate.UNKNOWN) if meant is None else ([meant], Fate.UNROUTED)
        for number in numbers:
            self._returned[number] = Outcome(number, fate, method.reply_text)

    def _meant(self, same: list[int], header: ContentHeader) -> int | None:
        """Return which of these messages came back with a header, None if nobody can tell."""
        returned = _comparable(header)
        exactly = [n for n in same if _comparable(self._outstanding[n].header) == returned]
        if not exactly:
            return same[0] if len(same) == 1 else None
        # Twins come back one after another: each is reported once.
        return next(filterfalse(self._returned.__contains__, exactly), same[0])

    def _on_close(self, _: object, reason: Exception) -> None:
        self._channel = None
        # The broker does not say over which: if there is one alone, it is that one.
        fate = Fate.REFUSED if len(self._outstanding) == 1 else Fate.UNKNOWN
        for number in self._outstanding:
            self._tell(Outcome(number, fate, str(getattr(reason, "reply_text", reason))))
        self._outstanding.clear()
        self._returned.clear()

    def _tell(self, outcome: Outcome) -> None:
        if not self._outcomes:
            self._connection.call_later(0, _wake)  # ends the wait in `outcomes`
        self._outcomes.append(outcome)


def _comparable(header: ContentHeader) -> ContentHeader:
    """Return a header as it comes back: RabbitMQ sorts it, and removes BCC."""
    return header.without_headers(("BCC",)).with_sorted_headers()


def _wake() -> None:
    """Do nothing, but in a turn of pika's loop."""


def _as_wire(name: str) -> Any:
    """Return what pika sends for a name that `name_of` made."""
    return name.encode(errors="surrogateescape")
