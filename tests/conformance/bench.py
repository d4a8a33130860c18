"""A bench to try one cell: its queues on the broker, its publisher, and the path that consumes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeAlias

import aio_pika.exceptions
import pika.exceptions
import pytest
from kombu.transport.pyamqp import Transport

import mqctx
from mqctx import Context, Propagator, current
from tests.conformance.model import AMBIENT, CLASSIC, EMPTY, SENT, STREAM, Kind, Path
from tests.conformance.publishers import Publisher
from tests.drivers.clients import CLIENTS, Name
from tests.drivers.handling import PAUSE, SECONDS, Settle, Source, Verdict

LOST: dict[Name, tuple[type[BaseException], ...]] = {
    "aio-pika": aio_pika.exceptions.CONNECTION_EXCEPTIONS,
    "kombu": Transport.connection_errors,
    "pika": (pika.exceptions.AMQPError,),
}
"""The errors that the clients raise when their connection is lost."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message at its handler: what was active there, at first and in the end."""

    body: bytes
    headers: Mapping[str, Any]
    context: Context
    left_with: Context
    verdict: Verdict


Decide: TypeAlias = Callable[[bytes], Verdict]


def ack(_: bytes) -> Verdict:
    """Decide to ack."""
    return Settle.ACK


class NotingHandler:
    """Notes what arrives. If it acks, it leaves a value that no other message may see."""

    def __init__(self, decide: Decide) -> None:
        self.arrivals: list[Arrival] = []
        self._decide = decide

    def __call__(self, body: bytes, headers: Mapping[str, Any]) -> Verdict:
        context = current()
        verdict = self._decide(body)
        if verdict is Settle.ACK:
            mqctx.bind(handled=True)
        self.arrivals.append(Arrival(body, dict(headers), context, current(), verdict))
        return verdict


@dataclass(slots=True)
class Bench:
    """The means of a cell. Its queues' names begin with `name`."""

    url: str
    channel: Any
    name: str
    kind: Kind
    path: Path
    publisher: Publisher
    _queues: list[str] = field(default_factory=list)

    def queue(self, purpose: str = "orders", kind: Kind | None = None, **arguments: Any) -> Source:
        """Declare a queue, of the cell's type if not told otherwise."""
        kind = kind or self.kind
        source = Source(f"{self.name}.{purpose}", dict(kind.consumer_arguments))
        arguments = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
        arguments["x-queue-type"] = kind.name
        self.channel.queue_declare(source.name, durable=True, arguments=arguments)
        self._queues.append(source.name)
        return source

    def queue_with_dead_letters(self, **arguments: Any) -> tuple[Source, Source]:
        """Declare a queue and the one that its dead letters go to.

        If the cell is about streams, the latter is the stream: a stream has no dead letters.
        """
        dead = self.queue("dead")
        kind = CLASSIC if self.kind is STREAM else self.kind
        route = {"dead_letter_exchange": "", "dead_letter_routing_key": dead.name}
        return self.queue("orders", kind, **route, **arguments), dead

    def orders(self, *contexts: Context) -> list[tuple[Context, bytes]]:
        """Number messages for the path, one per context."""
        return [(context, self.path.body % number) for number, context in enumerate(contexts)]

    def publish(self, queue: Source, *contexts: Context) -> None:
        """Publish one message in SENT and one in no context, or one in each of `contexts`."""
        properties = dict(self.path.properties)
        if self.path.replies:
            properties["reply_to"] = self.queue("replies", CLASSIC).name
        orders = self.orders(*(contexts or (SENT, EMPTY)))
        self.publisher.publish(self.url, queue.name, *orders, **properties)

    def consume(self, queue: Source, count: int, decide: Decide = ack) -> list[Arrival]:
        """Take the cell's path until it has handled `count` messages."""
        handler = NotingHandler(decide)
        self._consume(self.url, queue, count, handler)
        self._check(handler, count)
        return handler.arrivals

    def consume_through(self, url: str, queue: Source, count: int, decide: Decide) -> list[Arrival]:
        """Take the path, by way of `url`, and once more when its connection is lost."""
        handler = NotingHandler(decide)
        if self.path.reconnects:
            self._consume(url, queue, count, handler)
        else:
            with pytest.raises(LOST[self.path.client]):
                self._consume(url, queue, count, handler)
            self._consume(url, queue, count - len(handler.arrivals), handler)
        self._check(handler, count)
        return handler.arrivals

    def expect(self, arrivals: Sequence[Arrival], *, times: int = 1) -> None:
        """Assert that what `publish` published arrived so many times, each in its context."""
        arrived = [(each.context, each.body) for each in sorted(arrivals, key=lambda a: a.body)]
        assert arrived == [order for order in self.orders(SENT, EMPTY) for _ in range(times)]

    def next_context(self, queue: str) -> Context:
        """Get a message, waiting for it, and return its context."""
        deadline = monotonic() + SECONDS
        while monotonic() < deadline:
            method, properties, _ = self.channel.basic_get(queue, auto_ack=True)
            if method is not None:
                return Propagator().extract(properties.headers)
            self.channel.connection.sleep(PAUSE)
        raise AssertionError(f"no message came to {queue}")

    def delete(self) -> None:
        """Delete the queues."""
        for queue in self._queues:
            self.channel.queue_delete(queue)

    def _consume(self, url: str, queue: Source, count: int, handler: NotingHandler) -> None:
        with CLIENTS[self.path.client].instrumented(self.path.way):
            self.path.consume(url, queue, count, handler)
        assert current() == AMBIENT

    def _check(self, handler: NotingHandler, count: int) -> None:
        assert len(handler.arrivals) == count
        if self.path.replies:
            answered = [each for each in handler.arrivals if each.verdict is not Settle.LEAVE]
            replies = [self.next_context(f"{self.name}.replies") for _ in answered]
            assert replies == [each.left_with for each in answered]


MakeBench: TypeAlias = Callable[[Kind, Path, Publisher], Bench]
