"""Values in the AMQP properties `correlation_id` and `message_id`, where a format says so."""

import asyncio
from typing import Any, cast

import aio_pika
import kombu
import pika
import pytest

import mqctx.adapters.aio_pika
import mqctx.adapters.kombu
import mqctx.adapters.pika
from mqctx import Propagator, current, scope
from mqctx.formats.flat import CORRELATION_ID, MESSAGE_ID, FlatFormat
from mqctx.testing import aio_pika_message, kombu_message, pika_delivery

from .clients import RecordingChannel

PROPAGATOR = Propagator(
    formats=[FlatFormat({"request_id": CORRELATION_ID, "job": MESSAGE_ID, "tenant": "tenant"})]
)
ALL = {"request_id": "r-1", "job": "j-1", "tenant": "acme"}


class Exchange:
    """An exchange that keeps what it is given."""

    sent: Any = None

    async def publish(self, message: Any, routing_key: str) -> None:
        self.sent = message.properties


def sent_by_pika(properties: dict[str, Any]) -> dict[str, Any]:
    channel = RecordingChannel()
    given = pika.BasicProperties(**properties)
    mqctx.adapters.pika.publish(channel, "", "orders", b"", given, propagator=PROPAGATOR)
    _, sent, _ = channel.published[0]
    return cast("dict[str, Any]", vars(sent))


def by_aio_pika(properties: dict[str, Any]) -> dict[str, Any]:
    exchange = Exchange()
    message = aio_pika.Message(b"", **properties)
    publish = mqctx.adapters.aio_pika.publish
    asyncio.run(cast("Any", publish(cast("Any", exchange), message, "q", propagator=PROPAGATOR)))
    sent = exchange.sent
    return {name: getattr(sent, name) for name in ("headers", "correlation_id", "message_id")}


def sent_by_kombu(properties: dict[str, Any]) -> dict[str, Any]:
    with kombu.Connection("memory://") as connection, connection.SimpleQueue("props") as queue:
        producer = connection.Producer()
        mqctx.adapters.kombu.publish(
            producer, "", routing_key="props", propagator=PROPAGATOR, **properties
        )
        message = queue.get(timeout=1)
        message.ack()
    return {"headers": message.headers, **message.properties}


@pytest.mark.parametrize("send", [sent_by_pika, by_aio_pika, sent_by_kombu])
class TestPublish:
    def test_publish_writes_values_into_properties_and_the_rest_into_headers(
        self, send: Any
    ) -> None:
        with scope(ALL):
            sent = send({})
        assert (sent["correlation_id"], sent["message_id"]) == ("r-1", "j-1")
        assert sent["headers"] == {"tenant": "acme"}

    def test_publish_leaves_a_property_that_the_caller_set(self, send: Any) -> None:
        with scope(ALL):
            sent = send({"correlation_id": "reply-to-this"})
        assert (sent["correlation_id"], sent["message_id"]) == ("reply-to-this", "j-1")

    def test_publish_sets_no_property_without_a_value(self, send: Any) -> None:
        with scope(tenant="acme"):
            assert send({}).get("correlation_id") is None


def with_all(message: Any, **properties: Any) -> Any:
    for name, value in properties.items():
        setattr(message, name, value)
    return message


def in_pika(headers: Any, properties: dict[str, Any]) -> Any:
    _, _, message, _ = pika_delivery(b"")
    with_all(message, headers=headers, **properties)
    consume = mqctx.adapters.pika.consume_with_context
    decorated = consume(lambda *_: current(), propagator=PROPAGATOR)
    with mqctx.adapters.pika.restored(message, propagator=PROPAGATOR) as restored:
        assert decorated(None, None, message, b"") == restored
    return restored


def in_aio_pika(headers: Any, properties: dict[str, Any]) -> Any:
    message = with_all(aio_pika_message(b""), headers=headers, **properties)
    decorated = mqctx.adapters.aio_pika.consume_with_context(
        lambda _: current(), propagator=PROPAGATOR
    )
    with mqctx.adapters.aio_pika.restored(message, propagator=PROPAGATOR) as restored:
        assert decorated(message) == restored
    return restored


def in_kombu(headers: Any, properties: dict[str, Any]) -> Any:
    message = with_all(kombu_message(""), headers=headers)
    message.properties.update(properties)
    decorated = mqctx.adapters.kombu.consume_with_context(
        lambda _: current(), propagator=PROPAGATOR
    )
    with mqctx.adapters.kombu.restored(message, propagator=PROPAGATOR) as restored:
        assert decorated(message) == restored
    return restored


@pytest.mark.parametrize("receive", [in_pika, in_aio_pika, in_kombu])
class TestConsume:
    def test_a_consumer_restores_values_from_properties_and_headers(self, receive: Any) -> None:
        given = {"correlation_id": "r-1", "message_id": "j-1"}
        assert receive({"tenant": "acme", "other": 1}, given) == ALL

    def test_a_consumer_restores_values_from_properties_alone(self, receive: Any) -> None:
        assert receive({}, {"correlation_id": "r-1"}) == {"request_id": "r-1"}

    def test_a_consumer_restores_nothing_where_there_is_nothing(self, receive: Any) -> None:
        assert receive({}, {}) == {}


def test_headers_that_are_no_mapping_are_still_rejected() -> None:
    rejected: list[Any] = []
    propagator = Propagator(formats=PROPAGATOR.formats, on_rejected=rejected.append)
    message = with_all(aio_pika_message(b""), headers=["a"], correlation_id="r-1")
    with mqctx.adapters.aio_pika.restored(message, propagator=propagator) as restored:
        assert restored == {}
    assert [each.reason for each in rejected] == ["wrong-type"]


def test_where_there_is_no_message_there_is_no_property_either() -> None:
    with mqctx.adapters.pika.restored(None, propagator=PROPAGATOR) as restored:
        assert restored == {}


def test_another_format_leaves_the_properties_alone() -> None:
    with scope(request_id="r-1"):
        channel = RecordingChannel()
        mqctx.adapters.pika.publish(channel, "", "orders", b"")
    assert channel.published[0][1].correlation_id is None
