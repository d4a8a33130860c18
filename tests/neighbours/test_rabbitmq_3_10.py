"""The nine pairs, and looks at dead letters, on RabbitMQ 3.10."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from mqctx.inspection import Inspector
from tests.drivers.on_pika import pika_channel
from tests.integration.broker import Broker, NoBrokerError, find_broker, server_version
from tests.integration.dead_letters import drained, filled, mqctx, objects, ready
from tests.integration.settling import wait_until
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
def broker() -> Iterator[Broker]:
    """Give a RabbitMQ 3.10, or fail with what to do about it."""
    prepared = subprocess.run(
        BUILD, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if prepared.returncode:
        pytest.fail(f"{BUILD} failed:\n{prepared.stderr[-3000:]}", pytrace=False)
    image = prepared.stdout.strip()
    demanded = {"MQCTX_TEST_BROKER": "testcontainers", "MQCTX_TEST_IMAGE": image}
    try:
        with find_broker(os.environ | demanded) as found:
            yield found
    except NoBrokerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="module")
def amqp_url(broker: Broker) -> str:
    """Give its URL."""
    return broker.url


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


@pytest.mark.parametrize("kind", ["classic", "classic-single", "quorum", "stream"])
def test_looks_leave_all_in_place_and_in_order(broker: Broker, kind: str) -> None:
    with (
        filled(broker, kind, 400) as queue,
        Inspector(broker.url, management=broker.management) as inspector,
    ):
        wait_until(lambda: ready(broker, queue) == 400)  # a stream tells its length late
        for _ in range(25):
            with inspector.look(queue) as messages:
                assert [message.id for message in messages] == [str(n) for n in range(400)]


@pytest.mark.parametrize("kind", ["quorum-3", "quorum-unlimited"])
def test_a_delivery_limit_is_refused_also_one_below_none_until_it_is_read_by_copies(
    broker: Broker, kind: str
) -> None:
    """A policy lifts neither, and -1 is no limit only from 4.0 on: here it allows no return."""
    with filled(broker, kind, 120) as queue:
        refused = mqctx(broker, "inspect", queue)
        assert refused.exit_code == 3
        assert f"\n  mqctx inspect {queue} --rescue --broker " in refused.stderr
        for _ in range(5):
            result = mqctx(broker, "inspect", queue, "--rescue", "--json")
            assert (result.exit_code, len(objects(result))) == (0, 120)
        assert sorted(drained(broker, queue), key=int) == [str(n) for n in range(120)]


def test_deaths_are_told_the_newest_first(broker: Broker, queue: str) -> None:
    """Its x-death has no x-last-death beside it, and no delivery count."""
    first, second = f"{queue}.first", f"{queue}.second"
    with pika_channel(broker.url) as channel:
        for name, then in ((first, second), (second, f"{queue}.dead")):
            arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": then}
            channel.queue_declare(name, durable=True, arguments={**arguments, "x-message-ttl": 50})
        channel.queue_declare(f"{queue}.dead", durable=True)
        channel.basic_publish("", first, b"")
        wait_until(lambda: ready(broker, f"{queue}.dead") == 1)
        (told,) = objects(mqctx(broker, "inspect", f"{queue}.dead", "--json"))
        for name in (first, second, f"{queue}.dead"):
            channel.queue_delete(name)
    assert [(each["queue"], each["reason"]) for each in told["deaths"]] == [
        (second, "expired"),
        (first, "expired"),
    ]
    assert told["from"] == second
