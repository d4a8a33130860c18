"""The broker and the Redis of the integration tests, found once for all of them."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.drivers.on_pika import pika_channel

from .broker import Broker, NoBrokerError, find_broker, server_version
from .redis_server import NoRedisError, find_redis
from .shared import shared_broker

_USED = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[Broker]:
    """Give the broker, or fail every test that asks for it with what to do about it."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent  # the one of all processes of the run
    try:
        with shared_broker(folder, find_broker) as found:
            version = server_version(found.url)
            request.config.stash[_USED] = f"RabbitMQ {version}, found by way of {found.way}"
            yield found
    except NoBrokerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="session")
def amqp_url(broker: Broker) -> str:
    """Give the broker's URL."""
    return broker.url


@pytest.fixture
def queue_name(amqp_url: str) -> Iterator[str]:
    """Give a name that no other queue has, and delete the queue of that name afterwards."""
    name = f"mqctx-test-{uuid4().hex}"
    yield name
    with pika_channel(amqp_url) as channel:
        channel.queue_delete(name)


@pytest.fixture
def queue(amqp_url: str, queue_name: str) -> str:
    """Give a queue that is empty, and deleted afterwards."""
    with pika_channel(amqp_url) as channel:
        channel.queue_declare(queue_name)
    return queue_name


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Give the URL of a Redis, or fail every test that asks for it with what to do about it."""
    try:
        with find_redis() as url:
            yield url
    except NoRedisError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tell which broker the tests ran with."""
    if used := config.stash.get(_USED, None):
        terminalreporter.write_sep("=", "broker")
        terminalreporter.write_line(used)
