"""The broker of the examples."""

from tests.integration.conftest import amqp_url, broker, brokers_folder

__all__ = ["amqp_url", "broker", "brokers_folder"]
