"""The nine pairs again, on RabbitMQ 3.10, with classic and with quorum queues."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.drivers.on_pika import pika_channel
from tests.integration.broker import NoBrokerError, find_broker, server_version
from tests.integration.test_nine_pairs import (
    consumer,
    publisher,
    test_a_context_arrives_equal_in_value_and_type,
    test_messages_with_and_without_context_do_not_mix,
)

__all__ = [
    "consumer",
    "publisher",
    "test_a_context_arrives_equal_in_value_and_type",
    "test_messages_with_and_without_context_do_not_mix",
]

pytestmark = pytest.mark.full

BUILD = [str(Path(__file__).parents[2] / "docker/build.sh"), "bookworm", "3.10"]
BUILD_SECONDS = 2400
"""debootstrap, and the installation of Erlang; a few minutes where the mirror is near."""


@pytest.fixture(scope="module")
def amqp_url() -> Iterator[str]:
    """Give the URL of a RabbitMQ 3.10, or fail with what to do about it."""
    prepared = subprocess.run(
        BUILD, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if prepared.returncode:
        pytest.fail(f"{BUILD} failed:\n{prepared.stderr[-3000:]}", pytrace=False)
    image = prepared.stdout.strip()
    demanded = {"MQCTX_TEST_BROKER": "testcontainers", "MQCTX_TEST_IMAGE": image}
    try:
        with find_broker(os.environ | demanded) as found:
            yield found.url
    except NoBrokerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(params=["classic", "quorum"])
def queue(request: pytest.FixtureRequest, amqp_url: str) -> Iterator[str]:
    """Give a queue of each type."""
    name = f"mqctx-test-{uuid4().hex}"
    with pika_channel(amqp_url) as channel:
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": request.param})
    yield name
    with pika_channel(amqp_url) as channel:
        channel.queue_delete(name)


def test_it_is_that_version(amqp_url: str) -> None:
    assert server_version(amqp_url).startswith("3.10.")
