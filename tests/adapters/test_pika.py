"""Behaviour particular to pika."""

import functools
from inspect import Parameter, signature
from typing import Any, cast

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.channel import Channel

import mqctx
from mqctx import current, scope
from mqctx.adapters.pika import consume_with_context, publish, restored
from tests.adapters.clients import CLIENTS, RecordingChannel, decoded

EVERY_FIELD: dict[str, Any] = {
    "content_type": "text/plain",
    "content_encoding": "utf-8",
    "headers": {"kind": "order"},
    "delivery_mode": 2,
    "priority": 5,
    "correlation_id": "c-1",
    "reply_to": "replies",
    "expiration": "60000",
    "message_id": "m-1",
    "timestamp": 1_700_000_000,
    "type": "order",
    "user_id": "guest",
    "app_id": "shop",
    "cluster_id": "",
}


def test_every_property_is_sent_and_the_callers_object_stays_as_it_was() -> None:
    properties = cast("Any", pika.BasicProperties)(**EVERY_FIELD)
    channel = RecordingChannel()
    with scope(user="ada"):
        publish(channel, "orders", "new", b"42", properties, mandatory=True)
    method, sent, body = channel.published[0]
    assert (method.exchange, method.routing_key, method.mandatory, body) == (
        *("orders", "new", True),
        b"42",
    )
    expected = EVERY_FIELD | {"headers": {"kind": "order", "mqctx": '{"user":"ada"}'}}
    assert {name: getattr(decoded(sent), name) for name in EVERY_FIELD} == expected
    assert vars(properties) == EVERY_FIELD


def test_one_properties_object_serves_many_publishes() -> None:
    properties = cast("Any", pika.BasicProperties)(delivery_mode=pika.DeliveryMode.Persistent)
    channel = RecordingChannel()
    for user in ("ada", "grace"):
        with scope(user=user):
            publish(channel, "", "orders", b"42", properties)
    publish(channel, "", "orders", b"42", properties)
    sent = [properties.headers for _, properties, _ in channel.published]
    assert sent == [{"mqctx": '{"user":"ada"}'}, {"mqctx": '{"user":"grace"}'}, None]
    assert [properties.delivery_mode for _, properties, _ in channel.published] == [2, 2, 2]


def test_arguments_may_be_given_by_name() -> None:
    channel = RecordingChannel()
    publish(channel=channel, exchange="", routing_key="orders", body=b"42")
    assert channel.published[0][2] == b"42"


async def on_order(channel: object, method: object, properties: object, body: bytes) -> None:
    """Would never be awaited."""


class AsyncHandler:
    async def __call__(self, *_: object) -> None:
        """Would never be awaited."""


@pytest.mark.parametrize("handler", [on_order, functools.partial(on_order), AsyncHandler()])
def test_an_async_def_is_refused_when_decorated_with_the_way_out(handler: Any) -> None:
    with pytest.raises(mqctx.HandlerError, match=r"never awaits.*loop\.create_task"):
        consume_with_context(handler)


def test_a_handler_may_be_called_with_names_as_a_test_would() -> None:
    @consume_with_context
    def handler(channel: object, method: object, properties: Any, body: bytes) -> object:
        return current()

    channel, method, properties, body = CLIENTS["pika"].delivery({"mqctx": '{"user":"ada"}'})
    got = handler(channel=channel, method=method, properties=properties, body=body)
    assert got == {"user": "ada"}
    assert handler(channel, method, body=body, properties=properties) == {"user": "ada"}


def test_restored_takes_the_none_of_an_empty_get() -> None:
    with scope(user="ambient"), restored(None):
        assert current() == {}


@pytest.mark.parametrize("kind", [Channel, BlockingChannel])
def test_publish_has_the_parameters_of_the_clients_own_and_a_propagator(kind: Any) -> None:
    def rows(function: Any) -> list[tuple[str, Any, Any]]:
        parameters = signature(function).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters][1:]

    added = ("propagator", Parameter.KEYWORD_ONLY, None)
    assert rows(publish) == [*rows(kind.basic_publish), added]
