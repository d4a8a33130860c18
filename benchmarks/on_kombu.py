"""kombu: a publish and a handler in each way, on a silent channel and on a broker."""

from collections.abc import Callable
from contextlib import ExitStack
from time import process_time
from typing import Any, cast
from uuid import uuid4

from kombu import Consumer, Message, Producer, Queue
from kombu.transport.pyamqp import Channel
from opentelemetry import context, propagate

from benchmarks import ways
from mqctx.adapters.kombu import consume_with_context, publish
from tests.drivers.on_kombu import kombu_connection


class _SilentChannel(Channel):
    """A channel that makes messages as ever, and sends nothing."""

    def __init__(self) -> None:
        self.events = {"basic_return": set[object]()}

    def basic_publish(self, *args: Any, **options: Any) -> None:
        pass


def silent() -> Producer:
    """Make a real Producer, on a channel that sends nothing."""
    return cast("Any", Producer)(_SilentChannel(), auto_declare=False)


def message() -> tuple[Any, ...]:
    """Make what a caller publishes: the body."""
    return (ways.BODY,)


def delivery(headers: dict[str, str]) -> tuple[Any, ...]:
    """Make the arguments of a callback."""
    return ways.BODY, cast("Any", Message)(ways.BODY, headers=headers, content_type="text/plain")


def publisher(way: str, producer: Any, key: str = "orders") -> Callable[..., object]:
    """Return what publishes in this way through a producer."""

    def raw(body: bytes) -> None:
        producer.publish(body, key, delivery_mode=1)

    def one(body: bytes) -> None:
        producer.publish(body, key, delivery_mode=1, headers=ways.one_header())

    def five(body: bytes) -> None:
        producer.publish(body, key, delivery_mode=1, headers=ways.five_headers())

    def with_mqctx(body: bytes) -> None:
        publish(producer, body, key, delivery_mode=1)

    def inject(body: bytes) -> None:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        producer.publish(body, key, delivery_mode=1, headers=headers)

    known = {ways.ONE: one, ways.FIVE: five, ways.OTEL: inject}
    return known.get(way, with_mqctx if way in ways.OURS else raw)


def handler(way: str, callback: Callable[..., None]) -> Callable[..., None]:
    """Return the callback with the message's context active in this way."""

    def five(body: object, message: Any) -> None:
        held = ways.kept.set(ways.from_five(message.headers))
        try:
            callback(body, message)
        finally:
            ways.kept.reset(held)

    def extract(body: object, message: Any) -> None:
        token = context.attach(propagate.extract(message.headers))
        try:
            callback(body, message)
        finally:
            context.detach(token)

    if way in ways.OURS:
        return consume_with_context(callback)
    return {ways.FIVE: five, ways.OTEL: extract}.get(way, callback)


def quiet(*_: object) -> None:
    """Do nothing with a message."""


def receiver(callback: Callable[..., None]) -> Callable[..., None]:
    """Return what a connection calls: `receive` of a Consumer that has the callback."""
    made = cast("Any", Consumer)
    consumer = made(_SilentChannel(), [], callbacks=[callback], auto_declare=False)
    return cast("Callable[..., None]", consumer.receive)


class Session:
    """A connection and a queue, used in one way."""

    def __init__(self, url: str, way: str) -> None:
        self._open = ExitStack()
        self._connection = self._open.enter_context(kombu_connection(url, confirms=False))
        self._channel = self._connection.channel()
        self._queue: Any = cast("Any", Queue)(
            uuid4().hex, channel=self._channel, durable=False, expires=10 * ways.TIMEOUT
        )
        self._queue.declare()
        self._way = way
        self._publish = publisher(way, cast("Any", Producer)(self._channel), self._queue.name)

    def publish(self, count: int) -> None:
        """Publish so many messages."""
        for _ in ways.messages(self._way, count):
            self._publish(*message())

    def consume(self, count: int, seen: Callable[[], object] = int) -> float:
        """Consume so many that wait; return the CPU seconds until the last ack."""
        left = [None] * count

        def callback(body: object, message: Any) -> None:
            left.pop()
            seen()
            message.ack()

        decorated, start = handler(self._way, callback), process_time()
        with cast("Any", Consumer)(
            self._channel,
            [self._queue],
            callbacks=[decorated],
            prefetch_count=ways.PREFETCH,
            auto_declare=False,
        ):
            while left:
                self._connection.drain_events(timeout=ways.TIMEOUT)
            return process_time() - start

    def close(self) -> None:
        """Close the connection; the queue expires."""
        self._open.close()
