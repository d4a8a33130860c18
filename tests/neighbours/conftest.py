"""The newest broker, and queues, for the tests with old neighbours."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.integration.broker import NoBrokerError, find_broker
from tests.integration.clients import pika_channel


@pytest.fixture(scope="session")
def amqp_url() -> Iterator[str]:
    """Give a broker's URL, or fail with what to do about it."""
    try:
        with find_broker() as found:
            yield found.url
    except NoBrokerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture
def queue(amqp_url: str) -> Iterator[str]:
    """Give a queue that is deleted afterwards."""
    name = f"mqctx-test-{uuid4().hex}"
    with pika_channel(amqp_url) as channel:
        channel.queue_declare(name)
    yield name
    with pika_channel(amqp_url) as channel:
        channel.queue_delete(name)
