"""Ships orders by way of a partner's API: kombu and httpx."""

import logging
from typing import Any

import httpx
from kombu import Connection, Queue
from kombu.mixins import ConsumerMixin
from log import log_as
from settings import BROKER, PARTNER, SHIPPING

from mqctx.adapters.kombu import consume_with_context
from mqctx.http_clients.httpx import ContextTransport

log_as("shipping")
log = logging.getLogger("orders.shipping")
partner = httpx.Client(
    base_url=PARTNER,
    transport=ContextTransport(
        httpx.HTTPTransport(),
        hosts=["127.0.0.1"],
        headers={"request_id": "X-Request-Id", "tenant": "X-Tenant-Id", "user": "X-User"},
        log=True,
    ),
)


class Shipping(ConsumerMixin):
    """Ships one order after the other."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: N803 - kombu's name
        """Consume what was billed."""
        queue = Queue(SHIPPING, durable=False)
        return [Consumer(queue, callbacks=[self.on_order], accept=["application/data"])]

    def on_consume_ready(self, *_: Any, **__: Any) -> None:
        """Say that orders are taken."""
        log.info("ready")

    @consume_with_context
    def on_order(self, body: Any, message: Any) -> None:
        """Ship one order."""
        partner.post("/parcels").raise_for_status()
        log.info("shipped")
        message.ack()


if __name__ == "__main__":
    with Connection(BROKER) as connection:
        Shipping(connection).run()
