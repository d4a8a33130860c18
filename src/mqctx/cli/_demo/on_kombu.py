"""The services on kombu: all three in memory, shipping on RabbitMQ."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from mqctx.adapters.kombu import consume_with_context, publish
from mqctx.cli._demo.queues import connect, queue
from mqctx.cli._demo.stage import Stage
from mqctx.cli._demo.web import serve

_TICK_SECONDS: Final = 0.01


async def web(stage: Stage) -> None:
    """Serve the requests."""
    with connect(stage.url) as connection:
        await serve(stage, "kombu", _Outbox(connection.Producer(), stage.orders))


class _Outbox(msgspec.Struct, frozen=True):
    producer: Any
    queue: str

    async def send(self, order: str) -> None:
        publish(self.producer, order, routing_key=self.queue)

    async def send_without_context(self, order: str) -> None:
        self.producer.publish(order, routing_key=self.queue)


def billing(stage: Stage) -> None:
    """Bill each order, and pass it on to shipping."""
    service = stage.service("billing", "kombu")
    with connect(stage.url) as connection:
        producer = connection.Producer()

        @consume_with_context
        @service.named
        def on_order(order: str, message: Any) -> None:
            service.handles("bills", order)
            publish(producer, order, routing_key=stage.shipping)
            message.ack()

        _consume(connection, stage, stage.orders, service.watched(on_order))


def shipping(stage: Stage) -> None:
    """Ship each order."""
    service = stage.service("shipping", "kombu")

    @consume_with_context
    @service.named
    def on_order(order: str, message: Any) -> None:
        service.handles("ships", order)
        message.ack()

    with connect(stage.url) as connection:
        _consume(connection, stage, stage.shipping, service.watched(on_order))


def _consume(
    connection: Any, stage: Stage, queue_name: str, handler: Callable[[str, Any], None]
) -> None:
    with connection.Consumer(queue(queue_name), callbacks=[handler]):
        while not stage.journal.over.is_set():
            # A short time, and again: it is how kombu lets a thread see that the story is over.
            with suppress(TimeoutError):
                connection.drain_events(timeout=_TICK_SECONDS)
