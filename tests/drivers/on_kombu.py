"""kombu on py-amqp."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import kombu

from mqctx import current
from mqctx._core.context import as_context
from tests.drivers.handling import (
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
def kombu_connection(url: str) -> Iterator[Any]:
    """Open a connection that confirms what is published."""
    with kombu.Connection(url, transport_options={"confirm_publish": True}) as connection:
        yield connection


def send_raw(producer: Any, *args: Any, **options: Any) -> Any:
    """Publish as the client does, with the arguments of the adapter's `publish`."""
    return producer.publish(*args, **options)


def deliver(
    send: Send, url: str, queue: str, orders: Sequence[Order], properties: dict[str, Any]
) -> None:
    """Publish each order in its context, all on one connection, with confirms."""
    with kombu_connection(url) as connection:
        producer = connection.Producer()
        for context, body in orders:
            with as_context(context).scope():
                send(producer, body, routing_key=queue, **properties)


class KombuWork:
    """The messages that are to be handled."""

    def __init__(self, handle: Handle, count: int, send: Send) -> None:
        self.left = count
        self._handle = handle
        self._send = send
        self._around = current()
        self._deadline = monotonic() + SECONDS

    def check_time(self) -> None:
        """Raise if the messages take too long to come."""
        assert monotonic() < self._deadline, f"{self.left} messages did not come"

    def drain(self, connection: Any) -> None:
        """Let the connection's consumers handle all messages."""
        while self.left:
            connection.drain_events(timeout=SECONDS)
            assert current() == self._around

    def do(self, message: Any, producer: Any = None) -> Verdict:
        """Handle and settle a message; not what comes while a consumer that is done cancels."""
        if not self.left:
            return Settle.LEAVE
        verdict = self._handle(body_of(message), message.headers)
        if isinstance(verdict, Forward):
            with verdict.scope():
                self._forward(producer or kombu.Producer(message.channel), message, verdict.queue)
            message.ack()
        elif verdict is Settle.ACK:
            message.ack()
        elif verdict is not Settle.LEAVE:
            message.reject(requeue=verdict is Settle.REQUEUE)
        self.left -= 1
        return verdict

    def _forward(self, producer: Any, message: Any, queue: str) -> None:
        self._send(
            producer,
            message.body,
            routing_key=queue,
            headers=message.headers,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            reply_to=message.properties.get("reply_to"),
        )


def body_of(message: Any) -> bytes:
    """Return the body as it came."""
    return message.body.encode() if isinstance(message.body, str) else bytes(message.body)


def queue_of(source: Source) -> Any:
    """Return the queue, which exists already."""
    return kombu.Queue(source.name, no_declare=True, consumer_arguments=source.arguments)


def callbacks(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    send: Send,
    decorate: Decorate,
    prefetch: int = 1,
) -> None:
    """A Consumer's `callbacks`."""
    work = KombuWork(handle, count, send)

    @decorate
    def on_message(body: Any, message: Any) -> None:
        work.do(message)

    with (
        kombu_connection(url) as connection,
        connection.Consumer(queue_of(source), callbacks=[on_message], prefetch_count=prefetch),
    ):
        work.drain(connection)
