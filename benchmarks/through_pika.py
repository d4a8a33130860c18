"""pika on a real broker."""

from time import perf_counter
from typing import Any

from opentelemetry.instrumentation.pika import PikaInstrumentor
from pika import BlockingConnection, URLParameters

from benchmarks import on_pika, ways
from benchmarks.traffic import PREFETCH, TIMEOUT, Body, Seen, paced


class Session:
    """A connection, a channel and a queue."""

    def __init__(self, url: str, way: str, *, confirms: bool = False, queue: str = "") -> None:
        parameters = URLParameters(url)
        parameters.heartbeat = 0
        with ways.installed(PikaInstrumentor(), way):
            self._connection = BlockingConnection(parameters)
            self._channel = self._connection.channel()
        if confirms:
            self._channel.confirm_delivery()
        self._channel.basic_qos(prefetch_count=PREFETCH)
        self._owned = not queue
        self.queue = queue or self._channel.queue_declare("").method.queue
        self._way = ways.RAW if way in ways.INSTRUMENTED else way  # what is installed does it
        self._active = ways.ACTIVE[way]
        self._publish = on_pika.publisher(self._way, self._channel, self.queue)

    def publish(self, count: int, values: ways.Values, rate: float = 0, body: Body = None) -> None:
        """Publish messages of one context, at a steady rate per second, or at once."""
        with self._active(values)():
            for _ in paced(count, rate):
                self._publish(*on_pika.message(body() if body else on_pika.BODY))

    def consume(self, count: int, seen: Seen = None) -> float:
        """Consume so many messages; return the seconds from the first callback to the last ack."""
        times: list[float] = []

        def callback(channel: Any, method: Any, _: object, body: bytes) -> None:
            times.append(perf_counter())
            if seen:
                seen(body)
            channel.basic_ack(method.delivery_tag)

        handler = on_pika.handler(self._way, callback)
        tag = self._channel.basic_consume(self.queue, handler)
        deadline = perf_counter() + TIMEOUT
        while len(times) < count and perf_counter() < deadline:
            self._connection.process_data_events(time_limit=1)
        seconds = perf_counter() - times[0]
        self._channel.basic_cancel(tag)
        return seconds

    def purge(self) -> None:
        """Wait until the broker took all that was published, and throw it away."""
        self._channel.queue_purge(self.queue)

    def close(self) -> None:
        """Delete the queue, if it was made here, and close the connection."""
        if self._owned:
            self._channel.queue_delete(self.queue)
        self._connection.close()
