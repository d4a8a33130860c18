"""The brokers that what is inside is tried on."""

from tests.integration.conftest import (
    amqp_url,
    broker,
    broker_43,
    connect,
    each_broker,
    queue,
    queue_name,
)

__all__ = ["amqp_url", "broker", "broker_43", "connect", "each_broker", "queue", "queue_name"]
