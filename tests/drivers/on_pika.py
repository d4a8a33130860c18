"""pika, a BlockingConnection."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pika

from mqctx._core.context import as_context
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
            with as_context(context).scope():
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
