"""Old versions of each client, and the newest of the others on the other side of the queue."""

from pathlib import Path

import pytest

from tests.drivers.clients import CLIENTS
from tests.neighbours import neighbour
from tests.neighbours.venvs import python_with, run_module

pytestmark = pytest.mark.full

OLD = [
    ("pika", ["pika==1.3.0"]),
    ("pika", ["pika==1.3.2"]),
    ("aio-pika", ["aio-pika==9.6.0"]),
    ("kombu", ["kombu==5.3.0", "amqp==5.3.1"]),
    ("kombu", ["kombu==5.4.0", "amqp==5.3.1"]),
    ("kombu", ["kombu==5.5.4", "amqp==5.3.1"]),
]
"""Of each client the lowest version that pyproject.toml allows, and others below the newest."""
NEEDED = ["aio-pika", "kombu", "pika", "msgspec", "pytest"]
"""The packages that the neighbour's program imports; the old client is one of them."""


@pytest.fixture(scope="module", params=OLD, ids=lambda old: " ".join(old[1]))
def old(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """Give the name of a client, and an interpreter that has an old version of it."""
    client, pinned = request.param
    cache: Path = request.config.cache.mkdir("neighbours")
    return client, python_with([*pinned, *NEEDED], cache)


@pytest.mark.parametrize("consumer", CLIENTS)
def test_what_an_old_one_publishes_arrives(
    old: tuple[str, Path], consumer: str, amqp_url: str, queue: str
) -> None:
    client, python = old
    run_module(python, "tests.neighbours.neighbour", "publish", client, amqp_url, queue)
    neighbour.consume_both(consumer, amqp_url, queue)


@pytest.mark.parametrize("publisher", CLIENTS)
def test_what_is_published_arrives_at_an_old_one(
    old: tuple[str, Path], publisher: str, amqp_url: str, queue: str
) -> None:
    client, python = old
    neighbour.publish_both(publisher, amqp_url, queue)
    run_module(python, "tests.neighbours.neighbour", "consume", client, amqp_url, queue)
