"""pika through faults: a BlockingConnection in the loop that its users write."""

from typing import Any

from pika import BasicProperties
from pika.exceptions import AMQPError

from mqctx.adapters.pika import consume_with_context, publish
from tests.drivers.handling import context_of
from tests.drivers.on_pika import pika_channel

from .flow import Flow

PERSISTENT: Any = BasicProperties(delivery_mode=2)
PATIENCE = "connection_attempts=120&retry_delay=0.5"
NO_SUCH_TAG = 1_000_000


class Pika:
    """pika, with confirms; what is not confirmed is published again."""

    def publish(self, flow: Flow) -> None:
        """Connect again after each error, and go on with the message that it struck."""
        number = flow.take()
        while number is not None:
            try:
                with pika_channel(patient(flow.url)) as channel:
                    channel.confirm_delivery()
                    while number is not None:
                        self._publish(channel, flow, number)
                        number = flow.take()
            except AMQPError:
                flow.interrupted("publisher")

    def _publish(self, channel: Any, flow: Flow, number: int) -> None:
        if flow.must_spoil("publisher"):
            channel.basic_publish("no-such-exchange", "", b"")
        with context_of(number).scope():
            body = str(number).encode()
            publish(channel, "", flow.queue, body, PERSISTENT, mandatory=True)
        flow.confirm(number)

    def consume(self, flow: Flow) -> None:
        """Connect again after each error, and when the broker cancelled the consumer."""

        @consume_with_context
        def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            with flow.handling(body):
                spoil = flow.must_spoil("consumer")
            channel.basic_ack(NO_SUCH_TAG if spoil else method.delivery_tag)

        while not flow.finished:
            try:
                with pika_channel(patient(flow.url)) as channel:
                    self._consume(channel, flow, on_message)
            except AMQPError:
                flow.interrupted("consumer")

    def _consume(self, channel: Any, flow: Flow, on_message: Any) -> None:
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
