"""Events from a queue of our own, which is bounded, and goes when the connection does."""

from time import monotonic
from typing import Any, Final

from pika import spec
from pika.adapters.blocking_connection import BlockingConnection

from mqctx.inspection._arrivals import BEFORE_PROPERTIES, Arrival
from mqctx.inspection._journeys._backlog import Backlog
from mqctx.inspection._journeys._valve import Valve, do_nothing

__all__ = ["Source"]

_Deliver: Final[Any] = spec.Basic.Deliver  # whose stubs have no types

_CONSUMER: Final = "mqctx.trace"
_MANY_WAITING: Final = 1_000
"""How many events wait, or come from one look to the next, where one channel may be too few."""
_REST: Final = 2.0
"""Seconds without that after which one will do again."""
_PAUSE: Final = 0.2
_GATHERED: Final = 6.0
"""Seconds after which RabbitMQ's statistics have what it has counted: they gather it each 5 s."""
_MANY: Final = 50
"""Events of one reading of the socket after which there may be more in it."""


class Source:
    """Receive events through a connection.

    Args:
        connection: The connection, made by `connected`.
        queue: The name of our queue.
        backlog: Holds the events that have come.
        buffer: How many events RabbitMQ keeps for us; it drops the oldest ones beyond.
        exchange: The exchange whose messages are copied to us.
        routing_key: The pattern of those that are.

    Raises:
        AMQPError: the queue cannot be declared, or bound.
    """

    def __init__(
        self,
        connection: BlockingConnection,
        queue: str,
        backlog: Backlog,
        *,
        buffer: int,
        exchange: str,
        routing_key: str,
    ) -> None:
        self.queue = queue
        self._backlog = backlog
        self._connection: Any = connection  # pika says whole seconds, and takes any
        self._channel: Any = connection.channel()
        self._valve = Valve(connection, queue, self._take)
        self._most_waiting = min(_MANY_WAITING, buffer / 8)
        self._received = self._rests_since = 0.0
        arguments = {"x-queue-type": "classic", "x-max-length": buffer, "x-overflow": "drop-head"}
        self._channel.queue_declare(self.queue, exclusive=True, arguments=arguments)
        self._channel.queue_bind(self.queue, exchange, routing_key)
        self._connection._impl.stream(self._channel.channel_number, self._take)
        self.resume()

    def receive(self, seconds: float) -> None:
        """Receive all events that have come, or wait for some as long as that.

        Raises:
            AMQPError: the connection is lost.
        """
        came = _MANY
        while came >= _MANY:
            before = self._backlog.received
            self._connection.process_data_events(seconds)
            came, seconds = self._backlog.received - before, 0

    def look(self) -> int:
        """Return how many events wait in the queue; if many do, let more channels take them.

        Raises:
            AMQPError: the connection is lost.
        """
        waiting, now = self.waiting(), monotonic()
        came = self._backlog.received - self._received
        self._received += came
        if waiting or came > _MANY_WAITING:
            self._rests_since = now
        if waiting > self._most_waiting:
            self._valve.open()
        elif now > self._rests_since + _REST:
            self._valve.close()
        return waiting

    def waiting(self) -> int:
        """Return how many events wait in the queue.

        Raises:
            AMQPError: the connection is lost.
        """
        return int(self._channel.queue_declare(self.queue, passive=True).method.message_count)

    def catch_up(self) -> None:
        """Wait until all events that are on their way to the queue are in it, or with us.

        Raises:
            AMQPError: the connection is lost.
        """
        # RabbitMQ answers most questions before what waits for a busy queue, but this one behind.
        got, properties, body = self._channel.basic_get(self.queue, auto_ack=True)
        if got is not None:
            deliver = _Deliver(_CONSUMER, 0, False, got.exchange, got.routing_key)
            method = deliver.INDEX.to_bytes(4) + b"".join(deliver.encode())
            self._take(Arrival(method, bytes(BEFORE_PROPERTIES) + properties.header.raw, body))

    def pause(self) -> int:
        """Let no more events come; return how many are left in the queue.

        All that it has sent have come then: each channel's, before its consumer has ended.

        Raises:
            AMQPError: the connection is lost.
        """
        self._valve.close()
        self._channel.basic_cancel(_CONSUMER)
        while self._valve.under_way:
            self._connection.process_data_events(_PAUSE)
        return self.waiting()

    def resume(self) -> None:
        """Let events come.

        Raises:
            AMQPError: the connection is lost.
        """
        # Acknowledged as they are sent: TCP holds RabbitMQ back if we do not keep up.
        self._channel.basic_consume(self.queue, do_nothing, auto_ack=True, consumer_tag=_CONSUMER)

    def close(self, *, is_counted: bool) -> None:
        """Delete the queue, once RabbitMQ's statistics have what came, if that `is_counted`.

        Raises:
            AMQPError: the connection is lost, and the queue with it.
        """
        # Each 2 minutes, RabbitMQ forgets what they have not gathered yet of queues and channels
        # that are gone (rabbit_core_metrics_gc).
        self._connection.sleep(_GATHERED if is_counted else 0)
        self._channel.queue_delete(self.queue)

    def _take(self, arrival: Arrival) -> None:
        if not self._backlog:
            self._connection.call_later(0, do_nothing)  # which ends the wait for it
        self._backlog.add(arrival)
