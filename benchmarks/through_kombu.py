"""kombu on a real broker, through py-amqp."""

from time import perf_counter
from typing import Any, cast
from uuid import uuid4

from kombu import Connection, Consumer, Producer, Queue

from benchmarks import on_kombu, ways
from benchmarks.traffic import PREFETCH, TIMEOUT, Body, Seen, paced


class Session:
    """A connection, a channel and a queue."""

    def __init__(self, url: str, way: str, *, confirms: bool = False, queue: str = "") -> None:
        options = {"confirm_publish": confirms}
        self._connection: Any = cast("Any", Connection)(url, transport_options=options)
        self._channel = self._connection.channel()
        self._owned = not queue
        self.queue = queue or uuid4().hex
        self._bound: Any = cast("Any", Queue)(self.queue, channel=self._channel, durable=False)
        if self._owned:
            self._bound.declare()
        self._way = way
        self._active = ways.ACTIVE[way]
        producer = cast("Any", Producer)(self._channel)
        self._publish = on_kombu.publisher(way, producer, self.queue)

    def publish(self, count: int, values: ways.Values, rate: float = 0, body: Body = None) -> None:
        """Publish messages of one context, at a steady rate per second, or at once."""
        with self._active(values)():
            for _ in paced(count, rate):
                self._publish(*on_kombu.message(body() if body else on_kombu.BODY))

    def consume(self, count: int, seen: Seen = None) -> float:
        """Consume so many messages; return the seconds from the first callback to the last ack."""
        times: list[float] = []

        def callback(body: bytes, message: Any) -> None:
            times.append(perf_counter())
            if seen:
                seen(body)
            message.ack()

        consumer = cast("Any", Consumer)(
            self._channel,
            [self._bound],
            callbacks=[on_kombu.handler(self._way, callback)],
            prefetch_count=PREFETCH,
            auto_declare=False,
        )
        with consumer:
            while len(times) < count:
                self._connection.drain_events(timeout=TIMEOUT)
            return perf_counter() - times[0]

    def purge(self) -> None:
        """Wait until the broker took all that was published, and throw it away."""
        self._bound.purge()

    def close(self) -> None:
        """Delete the queue, if it was made here, and close the connection."""
        if self._owned:
            self._bound.delete()
        self._connection.release()
