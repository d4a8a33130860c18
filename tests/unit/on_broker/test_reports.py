"""The connections by which handlers report, with each client."""

import asyncio
import json
import struct
from collections.abc import Iterator
from typing import Any

import aio_pika
import kombu
import pika
import pika.exceptions
import pika.spec
import pytest
from kombu.transport import memory

import mqctx
import mqctx.adapters.pika
from mqctx.adapters import _aio_pika_reports, _kombu_reports, _pika_reports
from mqctx.adapters._reporter import Origin
from tests.drivers.on_pika import pika_channel
from tests.integration.broker import Broker
from tests.integration.traced import until, vhost_of

from .traced import Traced

EXCHANGE = "mqctx.journeys"


@pytest.fixture
def url(broker: Broker) -> Iterator[str]:
    """Give the URL of a vhost in which the exchange is there, and not as it would be declared."""
    with vhost_of(broker) as vhost:
        with pika_channel(vhost.url) as channel:
            channel.exchange_declare(EXCHANGE, "fanout")
            channel.queue_declare("reports")
            channel.queue_bind("reports", EXCHANGE)
        yield vhost.url


def send(origin: Origin) -> None:
    sender = origin.outlet.open(origin.client, EXCHANGE)
    sender.send("billing", b"{}")
    sender.send("billing", b"{}")
    sender.close()


def assert_reports(url: str) -> None:
    with pika_channel(url) as channel:
        until(lambda: channel.queue_declare("reports", passive=True).method.message_count == 2)
        method, properties, body = channel.basic_get("reports", auto_ack=True)
        assert (method.routing_key, body) == ("billing", b"{}")
        assert (properties.type, properties.content_type) == ("mqctx.run", "application/json")


def test_pika_reports_by_a_connection_of_its_own(url: str) -> None:
    with pika_channel(url) as channel:
        delivery: Any = pika.spec.Basic.Deliver("ctag", 1, True, "orders", "new")
        properties = pika.BasicProperties(message_id="m-1")
        origin = _pika_reports.origin_of(properties, (channel, delivery, properties, b""))
        assert (origin.message_id, origin.exchange, origin.routing_key) == ("m-1", "orders", "new")
        assert (origin.redelivered, origin.consumer_tag) == (True, "ctag")
        assert origin.connection is not None
        assert origin.connection.startswith("127.0.0.1:")
        send(origin)
        assert origin.outlet.key(origin.client)[0] == "pika"  # type: ignore[index]  # a tuple
    assert_reports(url)


def test_kombu_reports_by_a_connection_of_its_own(url: str) -> None:
    with kombu.Connection(url) as connection:
        channel = connection.channel()
        channel.basic_publish(channel.prepare_message(b"1"), routing_key="reports")
        message = channel.basic_get("reports", no_ack=True)
        origin = _kombu_reports.origin_of(message, ())
        assert (origin.exchange, origin.routing_key, origin.redelivered) == ("", "reports", False)
        assert origin.connection is not None
        assert origin.connection.startswith("127.0.0.1:")
        send(origin)
        assert origin.outlet.key(origin.client)[0] == "kombu"  # type: ignore[index]  # a tuple
    assert_reports(url)


NOT_DECLARABLE = "x" * 256
"""A name that AMQP cannot carry, which only the client notices."""


def test_pika_closes_its_connection_where_the_exchange_cannot_be_declared(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = pika.BlockingConnection(pika.URLParameters(url))
    monkeypatch.setattr(_pika_reports, "BlockingConnection", lambda _: opened)
    with pytest.raises(pika.exceptions.ShortStringTooLong):
        _pika_reports.outlet.open(pika.URLParameters(url), NOT_DECLARABLE)
    assert opened.is_closed


def test_kombu_closes_its_connection_where_the_exchange_cannot_be_declared(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kombu.Connection(url) as connection, kombu.Connection(url) as opened:
        monkeypatch.setattr(connection, "clone", lambda **_: opened)
        with pytest.raises(struct.error):
            _kombu_reports.outlet.open(connection, NOT_DECLARABLE)
        assert not opened.connected


def test_kombu_reports_nothing_where_it_does_not_speak_amqp() -> None:
    with kombu.Connection("memory://") as connection:
        channel = connection.channel()
        assert isinstance(channel, memory.Channel)
        message = kombu.Message(channel=channel, delivery_info={})
        with pytest.raises(AttributeError, match="mqctx_outlet"):
            _kombu_reports.origin_of(message, ())


@pytest.mark.asyncio
async def test_aio_pika_reports_by_a_connection_of_its_own(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        sent = aio_pika.Message(b"1", message_id="m-1")
        await channel.default_exchange.publish(sent, "reports")
        queue = await channel.get_queue("reports")
        message: Any = await queue.get(no_ack=True)
        origin = _aio_pika_reports.origin_of(message, ())
        assert (origin.message_id, origin.exchange, origin.routing_key) == ("m-1", "", "reports")
        # As in the thread that sends reports: no loop runs there.
        await _in_thread(send, origin)
        origin.client.url = origin.client.url.with_port(1)
        with pytest.raises(OSError, match="refused|Connect call failed|Errno"):
            await _in_thread(send, origin)
    assert_reports(url)


async def _in_thread(function: Any, *arguments: Any) -> None:
    await asyncio.to_thread(function, *arguments)


def test_a_failure_that_was_dead_lettered_is_reported_as_such(broker: Broker) -> None:
    with vhost_of(broker) as vhost, Traced(vhost) as traced:
        mqctx.configure(report=EXCHANGE)

        @mqctx.adapters.pika.consume_with_context(dead_letter="amq.fanout")
        def fail(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            raise ValueError("no such order")

        with pika_channel(vhost.url) as channel:
            channel.queue_declare("orders")
            channel.queue_declare("dead")
            channel.queue_declare("kept")
            channel.exchange_declare(EXCHANGE, "topic", durable=True)
            channel.queue_bind("kept", EXCHANGE, "#")
            channel.queue_bind("dead", "amq.fanout")
            channel.basic_consume("orders", fail)
            channel.basic_publish("", "orders", b"1", pika.BasicProperties(message_id="m-1"))
            until(lambda: _processed(channel, "dead"))
            # A report that somebody keeps is no message of the journey.
            until(lambda: channel.basic_get("kept", auto_ack=True)[0] is not None)
        mqctx.configure()
        records = {record["id"]: record for record in traced.end()}
    run = records["run-1"]
    assert (run["outcome"], run["error"]) == ("raised", "ValueError")
    assert (run["parent"], run["inferred"]) == ("delivery-1", False)
    dead = next(r for r in records.values() if r.get("exchange") == "amq.fanout")
    assert (dead["parent"], dead["joined"]) == ("dead_letter-1", "death")
    died = records["dead_letter-1"]
    assert (died["parent"], died["joined"], died["queue"]) == ("delivery-1", "message", "orders")
    assert died["reason"] == "ValueError: no such order"
    assert json.loads(dead["headers"]["mqctx-failure"])["message"] == "no such order"


def _processed(channel: Any, queue: str) -> bool:
    channel.connection.process_data_events(0.05)
    count: int = channel.queue_declare(queue, passive=True).method.message_count
    return count == 1
