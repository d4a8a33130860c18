"""The broker and the Redis of the integration tests, found once for all of them."""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import aio_pika
import pytest

from tests.drivers.on_aio_pika import Connect
from tests.drivers.on_pika import pika_channel

from .broker import Broker, NoBrokerError, find_broker, find_broker_43, server_version
from .redis_server import NoRedisError, find_redis
from .shared import shared_broker
from .traced import Vhost, vhost_of

_USED = pytest.StashKey[list[str]]()
_Find = Callable[[], AbstractContextManager[Broker]]


@pytest.fixture(scope="session")
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[Broker]:
    """Give the broker, or fail every test that asks for it with what to do about it."""
    folder = _shared_folder(tmp_path_factory, worker_id)
    with _shared(request.config, folder, find_broker) as found:
        yield found


@pytest.fixture(scope="session")
def broker_43(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[Broker]:
    """Give a second broker, of RabbitMQ 4.3 or newer; fail like `broker` where there is none."""
    folder = _shared_folder(tmp_path_factory, worker_id) / "4.3"
    folder.mkdir(exist_ok=True)
    with _shared(request.config, folder, find_broker_43) as found:
        yield found


@pytest.fixture(scope="session", params=["broker", "broker_43"], ids=["first", "4.3"])
def each_broker(request: pytest.FixtureRequest) -> Broker:
    """Run the test on both brokers."""
    found: Broker = request.getfixturevalue(request.param)
    return found


def _shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a folder that all processes of the run have."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent


@contextmanager
def _shared(config: pytest.Config, folder: Path, find: _Find) -> Generator[Broker]:
    try:
        with shared_broker(folder, find) as found:
            used = f"RabbitMQ {server_version(found.url)}, found by way of {found.way}"
            config.stash.setdefault(_USED, []).append(used)
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


@pytest.fixture(params=[aio_pika.connect, aio_pika.connect_robust], ids=["plain", "robust"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Give each way to connect with aio-pika."""
    return cast("Connect", request.param)


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
    """Tell which brokers the tests ran with."""
    if used := config.stash.get(_USED, []):
        terminalreporter.write_sep("=", "broker")
        for each in used:
            terminalreporter.write_line(each)


@pytest.fixture
def vhost(broker: Broker) -> Iterator[Vhost]:
    """Give a vhost of the test's own."""
    with vhost_of(broker) as made:
        yield made


@pytest.fixture
def channel(vhost: Vhost) -> Iterator[Any]:
    """Give a channel in that vhost."""
    with pika_channel(vhost.url) as opened:
        yield opened
