"""pika: a publish and a handler in each way, on a silent channel and on a broker."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from time import perf_counter, process_time
from types import SimpleNamespace
from typing import Any, cast

from opentelemetry import trace
from opentelemetry.instrumentation.pika import PikaInstrumentor
from opentelemetry.instrumentation.pika.utils import _decorate_callback
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.callback import CallbackManager
from pika.channel import Channel
from pika.spec import Basic

from benchmarks import ways
from mqctx.adapters.pika import consume_with_context, publish
from tests.drivers.on_pika import pika_channel


class _SilentChannel(Channel):
    """A channel whose frames go nowhere, and are not encoded."""

    def __init__(self) -> None:
        params = SimpleNamespace(host="localhost", port=5672)
        connection = SimpleNamespace(callbacks=CallbackManager(), params=params)
        super().__init__(cast("Any", connection), 1, lambda _: None)
        self._state = self.OPEN

    def _send_method(self, method: Any, content: Any = None) -> None:
        pass


def silent() -> BlockingChannel:
    """Make a real BlockingChannel, on a Channel that sends nothing."""
    below = _SilentChannel()
    connection = SimpleNamespace(_impl=below.connection, _flush_output=lambda *_: None)
    return BlockingChannel(below, cast("Any", connection))


def message() -> tuple[Any, ...]:
    """Make what a caller publishes: body and properties."""
    return ways.BODY, BasicProperties(content_type="text/plain", delivery_mode=1)


def delivery(headers: dict[str, str]) -> tuple[Any, ...]:
    """Make the arguments of a callback."""
    method = Basic.Deliver("c", 1, False, "", "orders")
    return None, method, BasicProperties(headers=headers), ways.BODY


def publisher(way: str, channel: Any, key: str = "orders") -> Callable[..., object]:
    """Return what publishes in this way; the channel must be for this way alone."""

    def raw(body: bytes, properties: Any) -> None:
        channel.basic_publish("", key, body, properties)

    def one(body: bytes, properties: Any) -> None:
        properties.headers = ways.one_header()
        channel.basic_publish("", key, body, properties)

    def five(body: bytes, properties: Any) -> None:
        properties.headers = ways.five_headers()
        channel.basic_publish("", key, body, properties)

    def with_mqctx(body: bytes, properties: Any) -> None:
        publish(channel, "", key, body, properties)

    if way == ways.OTEL:
        PikaInstrumentor.instrument_channel(channel)
    known = {ways.ONE: one, ways.FIVE: five}
    return known.get(way, with_mqctx if way in ways.OURS else raw)


def handler(way: str, callback: Callable[..., None]) -> Callable[..., None]:
    """Return the callback with the message's context active in this way."""

    def five(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        held = ways.kept.set(ways.from_five(properties.headers))
        try:
            callback(channel, method, properties, body)
        finally:
            ways.kept.reset(held)

    if way == ways.OTEL:
        return cast("Any", _decorate_callback)(callback, trace.get_tracer("pika"), "c")
    if way in ways.OURS:
        return consume_with_context(callback)
    return five if way == ways.FIVE else callback


def quiet(*_: object) -> None:
    """Do nothing with a message."""


def receiver(callback: Callable[..., None]) -> Callable[..., None]:
    """Return what a connection calls: the callback itself."""
    return callback


class Session:
    """A connection and a queue, used in one way."""

    def __init__(self, url: str, way: str) -> None:
        self._open = ExitStack()
        with ways.installed(PikaInstrumentor, way):
            self._channel = self._open.enter_context(pika_channel(f"{url}?heartbeat=0"))
        self._channel.basic_qos(prefetch_count=ways.PREFETCH)
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._way = way
        own = ways.RAW if way == ways.OTEL else way  # what is installed does the rest
        self._publish = publisher(own, self._channel, self._queue)
        self._handler = partial(handler, own)

    def publish(self, count: int) -> None:
        """Publish so many messages."""
        for _ in ways.messages(self._way, count):
            self._publish(*message())

    def consume(self, count: int, seen: Callable[[], object] = int) -> float:
        """Consume so many that wait; return the CPU seconds until the last ack."""
        left = [None] * count

        def callback(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            left.pop()
            seen()
            channel.basic_ack(method.delivery_tag)

        decorated, deadline = self._handler(callback), perf_counter() + ways.TIMEOUT
        start = process_time()
        tag = self._channel.basic_consume(self._queue, decorated)
        while left and perf_counter() < deadline:
            self._channel.connection.process_data_events(time_limit=1)
        seconds = process_time() - start
        self._channel.basic_cancel(tag)
        return seconds

    def close(self) -> None:
        """Close the connection, and with it the queue."""
        self._open.close()
