"""The brokers that the faults strike."""

import os
from collections.abc import Iterator

import pytest

from tests.integration.conftest import broker, queue_name

from .docker import Container, engine_answers, started
from .proxy import Proxy

__all__ = ["broker", "queue_name"]


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip what needs containers of its own where there are none, unless they are demanded."""
    if not engine_answers():
        demanded = os.environ.get("MQCTX_TEST_BROKER") == "testcontainers"
        (pytest.fail if demanded else pytest.skip)("no Docker engine answers `docker info`")


@pytest.fixture(scope="session")
def container(engine: None) -> Iterator[Container]:
    """A broker that may be restarted."""
    with started() as container:
        container.await_broker()
        yield container


@pytest.fixture(scope="session")
def amqp_url(request: pytest.FixtureRequest) -> str:
    """The URL of a broker that keeps running: the container, unless another is asked for."""
    name = "container" if _may_be_container() and engine_answers() else "broker"
    return str(request.getfixturevalue(name).url)


def _may_be_container() -> bool:
    demanded = os.environ.get("MQCTX_TEST_BROKER")
    if demanded:
        return demanded == "testcontainers"
    return not os.environ.get("MQCTX_TEST_AMQP_URL")


@pytest.fixture
def proxy(amqp_url: str) -> Iterator[Proxy]:
    """A proxy before the broker."""
    with Proxy(amqp_url).running() as proxy:
        yield proxy
