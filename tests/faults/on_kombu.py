"""kombu through faults: `retry=True` when publishing, a ConsumerMixin when consuming."""

from typing import Any

import kombu
from kombu.mixins import ConsumerMixin

from mqctx.adapters.kombu import consume_with_context, publish
from tests.drivers.handling import context_of
from tests.drivers.on_kombu import kombu_connection

from .flow import Flow

NO_SUCH_TAG = 1_000_000


class Kombu:
    """kombu on py-amqp, with confirms."""

    def publish(self, flow: Flow) -> None:
        """Leave it to kombu to connect again and to publish again."""
        policy = {
            "errback": lambda error, interval: flow.interrupted("publisher"),
            "interval_start": 0.5,
            "interval_step": 0,
        }
        with kombu_connection(flow.url) as connection:
            producer = connection.Producer()
            while (number := flow.take()) is not None:
                self._spoil(connection, producer, flow)
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

    def _spoil(self, connection: Any, producer: Any, flow: Flow) -> None:
        if flow.must_spoil("publisher"):
            try:
                producer.publish(b"", exchange="no-such-exchange")
            except connection.channel_errors:
                flow.interrupted("publisher")

    def consume(self, flow: Flow) -> None:
        """Leave it to the mixin to connect again and to consume again."""
        with kombu_connection(flow.url) as connection:
            _Worker(connection, flow).run()


class _Worker(ConsumerMixin):
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
