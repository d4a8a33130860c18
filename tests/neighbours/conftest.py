"""The newest broker, and queues, for the tests with old neighbours."""

from tests.integration.conftest import amqp_url, broker, queue, queue_name

__all__ = ["amqp_url", "broker", "queue", "queue_name"]
