"""The billing service on pika's BlockingConnection."""

from typing import Final

from pika import BasicProperties, BlockingConnection, URLParameters
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic

from mqctx.adapters.pika import consume_with_context, publish
from mqctx.cli._demo.stage import Stage

_TICK_SECONDS: Final = 0.01


def billing(stage: Stage) -> None:
    """Bill each order, and pass it on to shipping."""
    service = stage.service("billing", "pika")

    @consume_with_context
    @service.named
    def on_order(
        channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        service.handles("bills", body.decode())
        publish(channel, "", stage.shipping, body, properties)
        channel.basic_ack(method.delivery_tag)

    with BlockingConnection(URLParameters(stage.url)) as connection:
        channel = connection.channel()
        channel.basic_consume(stage.orders, service.watched(on_order))
        while not stage.journal.over.is_set():
            connection.process_data_events(_TICK_SECONDS)  # pyright: ignore[reportArgumentType]  # a float will do
