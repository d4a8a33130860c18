"""Bills orders, has a mail sent, and passes them on: pika, and Celery to send the task."""

import logging
from typing import Any

import pika
from log import log_as
from mail import app as celery
from settings import BILLING, BROKER, SHIPPING

from mqctx.adapters.pika import consume_with_context, publish

log_as("billing")
log = logging.getLogger("orders.billing")


@consume_with_context
def on_order(channel: Any, method: Any, properties: Any, body: bytes) -> None:
    """Bill one order."""
    log.info("billed")
    celery.send_task("mail.confirm", [body.decode()])
    publish(channel, "", SHIPPING, body)
    channel.basic_ack(method.delivery_tag)


def main() -> None:
    """Bill orders until the process ends."""
    channel = pika.BlockingConnection(pika.URLParameters(BROKER)).channel()
    channel.queue_declare(BILLING)
    channel.queue_declare(SHIPPING)
    channel.basic_consume(BILLING, on_order)
    log.info("ready")
    channel.start_consuming()


if __name__ == "__main__":
    main()
