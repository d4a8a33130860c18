"""pika, a BlockingConnection."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pika
from pika.exceptions import AMQPError

import mqctx
from mqctx.adapters.pika import consume_with_context, publish
from tests.drivers.flow import NO_SUCH_TAG, Flow
from tests.drivers.handling import (
    PAUSE,
    SECONDS,
    Decorate,
    Forward,
    Handle,
    Order,
    Send,
    Settle,
    Source,
    Verdict,
    context_of,
)


@contextmanager
def pika_channel(url: str) -> Iterator[Any]:
    """Open a connection with one channel."""
    connection: Any = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


def send_raw(channel: Any, *args: Any) -> None:
    """Publish as the client does, with the arguments of the adapter's `publish`."""
    channel.basic_publish(*args)


def deliver(
    send: Send, url: str, queue: str, orders: Sequence[Order], properties: dict[str, Any]
) -> None:
    """Publish each order in its context, all on one connection, with confirms."""
    with pika_channel(url) as channel:
        channel.confirm_delivery()
        given = pika.BasicProperties(**properties) if properties else None
        for context, body in orders:
            with mqctx.Context(context).scope():
                send(channel, "", queue, body, given, True)


class PikaWork:
    """The messages that are to be handled."""

    def __init__(self, handle: Handle, count: int, send: Send) -> None:
        self.left = count
        self._handle = handle
        self._send = send
        self._deadline = monotonic() + SECONDS

    def wait(self, pause: Callable[[float], None]) -> None:
        """Pause a little, but not for ever."""
        assert monotonic() < self._deadline, f"{self.left} messages did not come"
        pause(PAUSE)

    def do(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        """Handle and settle a message, in the form of a callback."""
        self.settle(channel, method, properties, body, self.judge(properties, body))

    def judge(self, properties: Any, body: bytes) -> Verdict:
        """Handle a message."""
        return self._handle(body, properties.headers or {})

    def settle(
        self, channel: Any, method: Any, properties: Any, body: bytes, verdict: Verdict
    ) -> None:
        """Settle a message, in the connection's thread."""
        if isinstance(verdict, Forward):
            with verdict.scope():
                self._send(channel, "", verdict.queue, body, properties)
            channel.basic_ack(method.delivery_tag)
        elif verdict is Settle.ACK:
            channel.basic_ack(method.delivery_tag)
        elif verdict is not Settle.LEAVE:
            channel.basic_reject(method.delivery_tag, requeue=verdict is Settle.REQUEUE)
        self.left -= 1


def basic_consume(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    send: Send,
    decorate: Decorate,
    prefetch: int = 1,
) -> None:
    """`BlockingChannel.basic_consume`."""
    work = PikaWork(handle, count, send)

    @decorate
    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        work.do(channel, method, properties, body)
        if not work.left:
            channel.stop_consuming()

    start_consuming(url, source, on_message, prefetch)
    assert not work.left, f"{work.left} messages did not come"


def start_consuming(
    url: str, source: Source, callback: Callable[..., None], prefetch: int = 1
) -> None:
    """Consume until the callback stops it."""
    with pika_channel(url) as channel:
        channel.basic_qos(prefetch_count=prefetch)
        channel.connection.call_later(SECONDS, channel.stop_consuming)
        channel.basic_consume(source.name, callback, arguments=source.arguments)
        channel.start_consuming()


# Through faults: a BlockingConnection in the loop that its users write; what is not confirmed is
# published again.

PERSISTENT: Any = pika.BasicProperties(delivery_mode=2)
PATIENCE = "connection_attempts=120&retry_delay=0.5"


def publish_through(flow: Flow) -> None:
    """Connect again after each error, and go on with the message that it struck."""
    number = flow.take()
    while number is not None:
        try:
            with pika_channel(patient(flow.url)) as channel:
                channel.confirm_delivery()
                while number is not None:
                    _publish(channel, flow, number)
                    number = flow.take()
        except AMQPError:
            flow.interrupted("publisher")


def _publish(channel: Any, flow: Flow, number: int) -> None:
    if flow.must_spoil("publisher"):
        channel.basic_publish("no-such-exchange", "", b"")
    with context_of(number).scope():
        body = str(number).encode()
        publish(channel, "", flow.queue, body, PERSISTENT, mandatory=True)
    flow.confirm(number)


def consume_through(flow: Flow) -> None:
    """Connect again after each error, and when the broker cancelled the consumer."""

    @consume_with_context
    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        with flow.handling(body):
            spoil = flow.must_spoil("consumer")
        channel.basic_ack(NO_SUCH_TAG if spoil else method.delivery_tag)

    while not flow.finished:
        try:
            with pika_channel(patient(flow.url)) as channel:
                _consume(channel, flow, on_message)
        except AMQPError:
            flow.interrupted("consumer")


def _consume(channel: Any, flow: Flow, on_message: Any) -> None:
    def stop_when_finished() -> None:
        if flow.finished:
            channel.stop_consuming()
        else:
            channel.connection.call_later(0.1, stop_when_finished)

    stop_when_finished()
    channel.queue_declare(flow.queue, durable=True, arguments=flow.arguments)
    channel.basic_qos(prefetch_count=20)
    channel.basic_consume(flow.queue, on_message)
    # Returns, without an error, when the broker cancelled the consumer.
    channel.start_consuming()


def patient(url: str) -> str:
    """Return the URL with the request to try again each half second, for a minute."""
    return f"{url}{'&' if '?' in url else '?'}{PATIENCE}"
