"""Events from a queue of our own, bounded, in batches; the queue goes when the connection does."""

from collections.abc import Callable
from time import time
from typing import Any, Final

from pika.adapters.blocking_connection import BlockingConnection

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection._connection import delivery_of
from mqctx.inspection._journeys._events import Reader
from mqctx.inspection._journeys._model import Event, RunReport

__all__ = ["Source"]

FIREHOSE: Final = "amq.rabbitmq.trace"


class Source:
    """Receive events through a connection.

    Args:
        connection: The connection, made by `connected`.
        queue: What our queue is called.
        buffer: How many events RabbitMQ keeps for us; it drops the oldest ones beyond.
        exchange: The exchange whose messages are copied to us: the firehose, or one to tap.
        routing_key: The pattern of a tap; None for all.
        clock: Returns seconds since 1970.

    Raises:
        AMQPError: the queue cannot be declared, or bound.
    """

    BATCH: Final = 500
    """The most messages that are held unacknowledged: more make it no faster."""

    def __init__(
        self,
        connection: BlockingConnection,
        queue: str,
        *,
        buffer: int,
        exchange: str = FIREHOSE,
        routing_key: str | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        self.queue = queue
        self.received = 0
        self._connection: Any = connection  # pika says whole seconds, and takes any
        self._channel: Any = connection.channel()
        self._exchange = exchange
        self._clock = clock
        self._reader = Reader()
        self._events: list[Event | RunReport] = []
        self._tag = 0
        arguments = {"x-queue-type": "classic", "x-max-length": buffer, "x-overflow": "drop-head"}
        self._channel.queue_declare(self.queue, exclusive=True, arguments=arguments)
        self._channel.queue_bind(self.queue, exchange, "#" if routing_key is None else routing_key)
        # With a prefetch: what we cannot keep up with waits there, where it is bounded.
        self._channel.basic_qos(prefetch_count=self.BATCH)
        self._channel.basic_consume(self.queue, self._take)

    def receive(self, seconds: float) -> list[Event | RunReport]:
        """Return the events that come within a time, or as soon as there are some.

        Raises:
            AMQPError: the connection is lost.
        """
        self._connection.process_data_events(seconds)
        if self._tag:
            self._channel.basic_ack(self._tag, multiple=True)
            self._tag = 0
        events, self._events = self._events, []
        return events

    def waiting(self) -> int:
        """Return how many events wait in the queue.

        Raises:
            AMQPError: the connection is lost.
        """
        return int(self._channel.queue_declare(self.queue, passive=True).method.message_count)

    def close(self) -> None:
        """Delete the queue.

        Raises:
            AMQPError: the connection is lost, and the queue with it.
        """
        self._channel.queue_delete(self.queue)

    def _take(self, _channel: object, method: Any, properties: object, body: bytes) -> None:
        delivery = delivery_of(method, properties, body)
        self.received += 1
        self._tag = delivery.tag
        event = self._event(delivery.exchange, delivery.routing_key, delivery.header, body)
        if event is not None:
            self._events.append(event)

    def _event(
        self, exchange: str, routing_key: str, header: ContentHeader, body: bytes
    ) -> Event | RunReport | None:
        if self._exchange == FIREHOSE:
            return self._reader.firehose(routing_key, header, body, self._clock())
        return self._reader.tap(exchange, routing_key, header, body, self._clock())
