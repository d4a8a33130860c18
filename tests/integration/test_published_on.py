"""A script that publishes a message on, outside every run, leaves the context on it."""

from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pika
import pytest

from mqctx import run, scope
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from tests.drivers.handling import SECONDS
from tests.drivers.on_kombu import kombu_connection
from tests.drivers.on_pika import pika_channel

CARRIED = {"mqctx": '{"user":"ada"}', "kind": "order"}
Headers = dict[str, Any]
Publish = Callable[..., object]


def by_pika(url: str, queue: str, publish: Publish | None) -> Headers:
    """Take a message and publish it on, by the client's own call or another; return its headers."""
    with pika_channel(url) as channel:
        own = publish or type(channel).basic_publish
        channel.basic_publish("", queue, b"42", pika.BasicProperties(headers=CARRIED))
        _, properties, body = taken(channel, queue)
        own(channel, "", queue, body, properties)
        _, properties, _ = taken(channel, queue)
        return dict(properties.headers)


def taken(channel: Any, queue: str) -> Any:
    method, properties, body = next(channel.consume(queue, inactivity_timeout=SECONDS))
    channel.basic_ack(method.delivery_tag)
    channel.cancel()
    return method, properties, body


def by_kombu(url: str, queue: str, publish: Publish | None) -> Headers:
    """The same by kombu."""
    with kombu_connection(url) as connection:
        producer = connection.Producer()
        own = publish or kombu.Producer.publish
        producer.publish("42", routing_key=queue, headers=CARRIED)
        source = kombu.Queue(queue, no_declare=True)(connection.default_channel)
        message: Any = source.get(no_ack=True)
        own(producer, message.body, routing_key=queue, headers=message.headers)
        message = source.get(no_ack=True)
        return dict(message.headers)


CLIENTS: dict[str, tuple[Any, Callable[..., Headers]]] = {
    "pika": (pika_adapter, by_pika),
    "kombu": (kombu_adapter, by_kombu),
}


@pytest.fixture(params=CLIENTS)
def taker(request: pytest.FixtureRequest) -> tuple[Any, Callable[..., Headers]]:
    return CLIENTS[request.param]


@pytest.fixture(params=["publish", "instrument"])
def way(request: pytest.FixtureRequest, taker: Any) -> Iterator[Publish | None]:
    """Give the adapter's publish, or None for the client's own while it is instrumented."""
    adapter, _ = taker
    if request.param == "publish":
        yield adapter.publish
        return
    adapter.instrument()
    yield None
    adapter.uninstrument()


def test_outside_every_run_a_message_keeps_the_context_that_it_brought(
    taker: Any, way: Publish | None, amqp_url: str, queue: str
) -> None:
    assert taker[1](amqp_url, queue, way) == CARRIED


def test_inside_a_run_it_carries_what_is_active_there(
    taker: Any, way: Publish | None, amqp_url: str, queue: str
) -> None:
    with scope(user="eve"):
        assert taker[1](amqp_url, queue, way) == {**CARRIED, "mqctx": '{"user":"eve"}'}


def test_inside_an_empty_run_it_carries_none(
    taker: Any, way: Publish | None, amqp_url: str, queue: str
) -> None:
    assert run({}, taker[1], amqp_url, queue, way) == {"kind": "order"}
