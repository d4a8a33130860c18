"""A RabbitMQ of its own for the tests of an application; the integration tests start a real one."""

from types import SimpleNamespace
from typing import Any

import pytest
from testcontainers.core.config import testcontainers_config

from mqctx.testing import RabbitMQ, _plugin, _rabbitmq, rabbitmq_container

RabbitMqContainer: Any = vars(_rabbitmq)["RabbitMqContainer"]  # its import warns


class Images:
    """Docker's images, of which none is here."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def list(self, name: str) -> list[str]:
        return []

    def pull(self, name: str) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for docker, and note what starts and stops."""
    calls: list[Any] = []
    images = Images(None)
    client = SimpleNamespace(client=SimpleNamespace(images=images))
    replaced = {
        "__init__": lambda self, image, **options: calls.append((image, options["port"])),
        "with_exposed_ports": lambda self, *ports: calls.append(ports),
        "get_docker_client": lambda self: client,
        "start": lambda self: calls.append("start"),
        "stop": lambda self: calls.append("stop"),
        "get_exposed_port": lambda self, port: port + 1,
        "get_container_host_ip": lambda self: "172.17.0.1",
        "get_logs": lambda self: (b"booting\n", b"stuck\n"),
    }
    for name, function in replaced.items():
        monkeypatch.setattr(RabbitMqContainer, name, function)
    monkeypatch.setattr(_rabbitmq, "_listens", lambda port: False)
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", False)
    return calls


def test_runs_the_image_that_is_named_and_removes_it(started: list[Any]) -> None:
    with rabbitmq_container({"MQCTX_TEST_IMAGE": "rabbit:1"}) as found:
        assert started == [("rabbit:1", 5672), (15672,), "start"]
        assert found == RabbitMQ("amqp://guest:guest@172.17.0.1:5673/", "http://172.17.0.1:15673")
    assert started[-1] == "stop"
    assert not testcontainers_config.ryuk_disabled


def test_goes_by_the_loopback_address_where_that_answers(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rabbitmq, "_listens", lambda port: port == 5673)
    with rabbitmq_container({}) as found:
        assert found.url == "amqp://guest:guest@127.0.0.1:5673/"


def test_one_that_never_answers_is_removed_and_tells_its_last_output(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(RabbitMqContainer, "start", start)
    with pytest.raises(TimeoutError) as caught, rabbitmq_container({}):
        pass
    assert caught.value.__notes__ == ["Its last output:\nbooting\nstuck"]
    assert started[-1] == "stop"


def test_ryuk_is_left_out_where_its_image_cannot_be_had(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):  # the second time, nobody asks
        _rabbitmq._do_without_missing_ryuk(Images(OSError("no registry")))
        assert testcontainers_config.ryuk_disabled


def test_without_docker_the_error_is_dockers() -> None:
    with (
        pytest.raises(Exception, match="Error while fetching server API version"),
        rabbitmq_container({"DOCKER_HOST": "unix:///nonexistent/docker.sock"}),
    ):
        pass
    assert not _rabbitmq._listens(1)


def test_the_fixture_gives_the_broker_that_is_named_or_starts_one(
    monkeypatch: pytest.MonkeyPatch, started: list[Any]
) -> None:
    urls: Any = vars(_plugin)["rabbitmq_url"]
    gives = getattr(urls, "_get_wrapped_function", lambda: urls.__wrapped__)()
    monkeypatch.setenv("MQCTX_TEST_AMQP_URL", "amqp://somewhere/")
    assert list(gives()) == ["amqp://somewhere/"]
    monkeypatch.delenv("MQCTX_TEST_AMQP_URL")
    assert list(gives()) == ["amqp://guest:guest@172.17.0.1:5673/"]
    assert started[-2:] == ["start", "stop"]
