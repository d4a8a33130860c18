"""Tests of the finder of the integration tests' broker, and of the broker that it found."""

import os
from typing import Any

import httpx
import pika
import pytest
from pika.exceptions import AMQPConnectionError

from .broker import (
    Broker,
    NoBrokerError,
    find_broker,
    find_broker_43,
    installed_programs,
    server_version,
)

URL = "amqps://someone:secret@somewhere:1234/a%2Fb?heartbeat=5"
NO_DOCKER = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
NO_PROGRAMS = {"PATH": "/nonexistent"}


def environ(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MQCTX_TEST_")}
    return kept | changes


def failure_of(given: dict[str, str], find: Any = find_broker) -> str:
    with pytest.raises(NoBrokerError) as caught, find(given):
        pytest.fail("a broker was found")
    return str(caught.value)


def test_the_given_url_comes_first_and_is_passed_on_untouched() -> None:
    with find_broker(environ(MQCTX_TEST_AMQP_URL=URL)) as found:
        assert found == Broker(URL, "url", "http://somewhere:11234")


def test_the_second_is_looked_for_by_names_of_its_own() -> None:
    given = environ(MQCTX_TEST_AMQP_URL=URL, **NO_DOCKER)
    message = failure_of(given, find_broker_43)
    assert "1. Set MQCTX_TEST_AMQP_URL_43" in message
    assert "  testcontainers: DockerException" in message
    assert "  url: " not in message


def test_the_second_is_not_older_than_4_3(broker: Broker, broker_43: Broker) -> None:
    assert server_version(broker_43.url) >= "4.3"
    if server_version(broker.url) < "4.3":
        message = failure_of(environ(MQCTX_TEST_AMQP_URL_43=broker.url), find_broker_43)
        assert "What was found is RabbitMQ 4." in message


def test_both_have_a_management_api(each_broker: Broker) -> None:
    told = httpx.get(f"{each_broker.management}/api/whoami", auth=("guest", "guest")).json()
    assert told["name"] == "guest"


def test_without_any_broker_the_error_names_the_ways_out_and_why_each_way_failed() -> None:
    message = failure_of(environ(**NO_DOCKER, **NO_PROGRAMS))
    told = [
        "1. Set MQCTX_TEST_AMQP_URL",
        "2. Start Docker",
        "3. Install rabbitmq-server",
        "url: MQCTX_TEST_AMQP_URL is not set",
        "testcontainers: DockerException",
        "server: rabbitmq-server and Erlang's epmd are not both installed",
    ]
    positions = [message.find(each) for each in told]
    assert -1 not in positions, message
    assert positions == sorted(positions), message


def test_an_image_that_cannot_be_had_leads_on_to_the_next_way() -> None:
    message = failure_of(environ(MQCTX_TEST_IMAGE="localhost:1/no/image:0", **NO_PROGRAMS))
    assert "  testcontainers: " in message
    assert "  server: " in message


@pytest.mark.parametrize("way", ["url", "testcontainers", "server"])
def test_a_demanded_way_is_the_only_one_tried(way: str) -> None:
    others = {} if way == "url" else {"MQCTX_TEST_AMQP_URL": URL}
    message = failure_of(environ(MQCTX_TEST_BROKER=way, **others, **NO_DOCKER, **NO_PROGRAMS))
    tried = message.partition("What was tried:\n")[2]
    assert tried.startswith(f"  {way}: ")
    assert len(tried.splitlines()) == 1


def test_an_unknown_demanded_way_is_an_error() -> None:
    message = failure_of(environ(MQCTX_TEST_BROKER="docker", MQCTX_TEST_AMQP_URL=URL))
    assert message == "MQCTX_TEST_BROKER is 'docker', not one of url, testcontainers, server"


def test_the_broker_takes_and_gives_a_message(amqp_url: str, queue_name: str) -> None:
    assert exchange_message(amqp_url, queue_name) == b"hello"


def test_testcontainers_runs_rabbitmq_4(broker: Broker) -> None:
    assert broker.way != "testcontainers" or server_version(broker.url).startswith("4.")


@pytest.mark.skipif(
    installed_programs(os.environ) is None, reason="no rabbitmq-server is installed here"
)
def test_an_installed_server_is_started_and_stopped() -> None:
    with find_broker(environ(MQCTX_TEST_BROKER="server")) as found:
        assert found.way == "server"
        assert exchange_message(found.url, "greetings") == b"hello"
    with pytest.raises(AMQPConnectionError):
        server_version(found.url)


def exchange_message(url: str, queue: str) -> bytes | None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    channel.basic_publish("", queue, b"hello")
    _, _, body = channel.basic_get(queue, auto_ack=True)
    connection.close()
    return body
