"""kombu on py-amqp."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import kombu
from kombu.mixins import ConsumerMixin

import mqctx
from mqctx import current
from mqctx.adapters.kombu import consume_with_context, publish
from tests.drivers.flow import NO_SUCH_TAG, Flow
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
    context_of,
)


@contextmanager
def kombu_connection(url: str, *, confirms: bool = True) -> Iterator[Any]:
    """Open a connection on which what is published is confirmed."""
    with kombu.Connection(url, transport_options={"confirm_publish": confirms}) as connection:
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
            with mqctx.Context(context).scope():
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


# Through faults: kombu connects again by itself, `retry=True` when publishing, a ConsumerMixin
# when consuming.


def publish_through(flow: Flow) -> None:
    """Leave it to kombu to connect again and to publish again."""
    policy = {
        "errback": lambda error, interval: flow.interrupted("publisher"),
        "interval_start": 0.5,
        "interval_step": 0,
    }
    with kombu_connection(flow.url) as connection:
        producer = connection.Producer()
        while (number := flow.take()) is not None:
            _spoil(connection, producer, flow)
            with context_of(number).scope():
                publish(
                    producer,
                    str(number).encode(),
                    routing_key=flow.queue,
                    delivery_mode=2,
                    retry=True,
                    retry_policy=policy,
                )
            flow.confirm(number)


def _spoil(connection: Any, producer: Any, flow: Flow) -> None:
    if flow.must_spoil("publisher"):
        try:
            producer.publish(b"", exchange="no-such-exchange")
        except connection.channel_errors:
            flow.interrupted("publisher")


def consume_through(flow: Flow) -> None:
    """Leave it to the mixin to connect again and to consume again."""
    with kombu_connection(flow.url) as connection:
        _FlowWorker(connection, flow).run()


class _FlowWorker(ConsumerMixin):
    def __init__(self, connection: Any, flow: Flow) -> None:
        self.connection = connection
        self._flow = flow
        self._connected = False

    @property
    def should_stop(self) -> bool:  # type: ignore[override]  # the mixin asks it like this
        return self._flow.finished

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: N803 - kombu's name
        flow = self._flow
        queue = kombu.Queue(flow.queue, durable=True, queue_arguments=flow.arguments)
        return [Consumer(queue, callbacks=[self.on_message], prefetch_count=20)]

    def on_connection_revived(self) -> None:
        if self._connected:
            self._flow.interrupted("consumer")
        self._connected = True

    @consume_with_context
    def on_message(self, body: Any, message: Any) -> None:
        with self._flow.handling(body):
            spoil = self._flow.must_spoil("consumer")
        if spoil:
            message.channel.basic_ack(NO_SUCH_TAG)
        message.ack()
