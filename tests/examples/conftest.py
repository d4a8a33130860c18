"""The broker of the examples."""

from tests.integration.conftest import amqp_url, broker

__all__ = ["amqp_url", "broker"]
