"""The brokers that what is inside is tried on."""

from tests.integration.conftest import (
    amqp_url,
    broker,
    broker_43,
    channel,
    connect,
    each_broker,
    queue,
    queue_name,
    vhost,
)

__all__ = [
    "amqp_url",
    "broker",
    "broker_43",
    "channel",
    "connect",
    "each_broker",
    "queue",
    "queue_name",
    "vhost",
]
