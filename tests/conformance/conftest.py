"""The broker, and what has passed."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pika
import pytest

from mqctx import current
from tests.conformance.bench import Bench, MakeBench
from tests.conformance.matrix import Cell
from tests.conformance.model import AMBIENT, Kind, Path
from tests.conformance.publishers import Publisher
from tests.integration.broker import server_version
from tests.integration.conftest import amqp_url, broker

__all__ = ["amqp_url", "broker"]


@pytest.fixture(scope="session")
def passed() -> set[Cell]:
    """Give the cells that passed so far, for tests to add theirs."""
    return set()


@pytest.fixture(scope="session")
def collected(request: pytest.FixtureRequest) -> set[Cell]:
    """Give the cells that are tests of this run."""
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    return {call.params["cell"] for call in calls if call and "cell" in call.params}


@pytest.fixture(scope="session")
def broker_version(amqp_url: str) -> str:
    return server_version(amqp_url)


@pytest.fixture(scope="session")
def admin_connection(amqp_url: str) -> Iterator[Any]:
    parameters = pika.URLParameters(amqp_url)
    parameters.heartbeat = 0  # it may be left alone for long
    connection = pika.BlockingConnection(parameters)
    yield connection
    connection.close()


@pytest.fixture
def make_bench(amqp_url: str, admin_connection: Any) -> Iterator[MakeBench]:
    """Give what makes the bench for a cell. Its queues are deleted afterwards."""
    channel = admin_connection.channel()
    with ExitStack() as stack:

        def make(kind: Kind, path: Path, publisher: Publisher) -> Bench:
            name = f"mqctx-conformance-{uuid4().hex}"
            bench = Bench(amqp_url, channel, name, kind, path, publisher)
            stack.callback(bench.delete)
            return bench

        yield make
    channel.close()


@pytest.fixture
def _ambient() -> Iterator[None]:
    """Run the test in a context that no message brought, and that must survive."""
    with AMBIENT.scope():
        yield
        assert current() == AMBIENT
