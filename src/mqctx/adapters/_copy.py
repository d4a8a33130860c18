"""The copy of a message for a dead-letter exchange: byte for byte, but for what must differ."""

from collections.abc import Mapping
from typing import Final

import msgspec

from mqctx._amqp.content_header import ContentHeader
from mqctx._failures.record import Failure
from mqctx._failures.recording import Origin
from mqctx.adapters._dead_letter import DeadLetter
from mqctx.adapters._settling import NotSentError
from mqctx.formats._format import FAILURE

CONFIRM_SECONDS: Final = 30.0
"""How long a broker may take to confirm a copy."""

_FOR_THE_BROKER: Final = 4096
"""Bytes that the broker may add to the headers when it dead-letters the copy once more."""
_FRAMING: Final = 8
_BEFORE_PROPERTIES: Final = 12
"""The class and the size of the body, in front of the properties (AMQP 0-9-1, 4.2.6.1)."""
_UNLIMITED: Final = 2**31


class Received(msgspec.Struct, frozen=True):
    """A message as it came: its properties as bytes, and what the delivery says."""

    properties: bytes
    body: bytes
    exchange: str
    routing_key: str
    redelivered: bool

    def origin(self, queue: str | None) -> Origin:
        """Return what is known of it, for the record of a failure."""
        headers = ContentHeader(self.properties).headers
        return Origin(
            exchange=self.exchange,
            routing_key=self.routing_key,
            queue=queue,
            attempt=attempt(headers, redelivered=self.redelivered),
            earlier=headers.get(FAILURE),
        )


class Copy(msgspec.Struct, frozen=True):
    """A message to publish, mandatory and with a confirm."""

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes


def copy(
    received: Received, dead_letter: DeadLetter, failure: Failure, *, user: str, frame_max: int
) -> Copy:
    """Return the copy of a message that records its failure, for a connection of this `user`.

    Raises:
        NotSentError: it would come back to where it came from, or its headers exceed a frame.
    """
    routing_key = destination(dead_letter, received.exchange, received.routing_key)
    header = _fit_to_send_again(ContentHeader(received.properties), user)
    most = (frame_max or _UNLIMITED) - _FRAMING - _BEFORE_PROPERTIES
    others = header.without_headers((FAILURE,))
    # A copy that dies again gets an `x-death`, with which RabbitMQ must be able to deliver it.
    text = failure.to_header(most - len(others.raw) - _FOR_THE_BROKER)
    header = others if text is None else header.with_header(FAILURE, text)
    if len(header.raw) > most:
        raise NotSentError(f"its headers take {len(header.raw)} bytes, a frame has {most}")
    return Copy(dead_letter.exchange, routing_key, header.raw, received.body)


def _fit_to_send_again(header: ContentHeader, user: str) -> ContentHeader:
    header = header.without("expiration")
    if header.get("user_id") != user:
        header = header.without("user_id")  # the broker would refuse it
    return header.without_headers(("CC", "BCC"))  # each publish would deliver these copies again


def destination(dead_letter: DeadLetter, exchange: str, routing_key: str) -> str:
    """Return the routing key of the copy; refuse one that would come back to its own queue."""
    chosen = routing_key if dead_letter.routing_key is None else dead_letter.routing_key
    if (dead_letter.exchange, chosen) == (exchange, routing_key):
        raise NotSentError("it came through that exchange with that routing key, and would again")
    return chosen


def attempt(headers: Mapping[str, object], *, redelivered: bool) -> int:
    """Return which delivery this is, as far as the broker says.

    Quorum queues count returns, from RabbitMQ 4.3 on in `x-acquired-count`: `x-delivery-count` may
    then be what another queue has left. A classic queue says no more than that there was one.
    """
    if not redelivered:
        return 1
    counts = map(headers.get, ("x-acquired-count", "x-delivery-count"))
    return 1 + next((count for count in counts if type(count) is int and count > 0), 1)
