"""Publishes on an object are recorded, and reach no broker: there is none here."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import aio_pika
import kombu
import pika
import pytest
from aio_pika import Message
from aiormq.exceptions import ChannelInvalidStateError
from kombu.exceptions import OperationalError
from pika.channel import Channel
from pika.exceptions import ChannelWrongStateError

import mqctx
from mqctx import JsonFormat, Propagator, configure, scope
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from mqctx.testing import Sent, kombu_message, pika_delivery, sent

ADA = {"user": "ada"}
NOWHERE: Any = "amqp://guest:guest@127.0.0.1:1/"


def parts(records: list[Sent]) -> list[tuple[object, ...]]:
    return [(dict(each.context), each.body, each.routing_key, each.exchange) for each in records]


class TestEveryClient:
    def test_context_and_headers_are_those_that_a_consumer_gets(self) -> None:
        channel, *_ = pika_delivery(b"")
        with sent(channel) as records, scope(ADA):
            properties = pika.BasicProperties(headers={"kept": 1})
            pika_adapter.publish(channel, "shop", "orders", b"42", properties)
            assert parts(records) == [(ADA, b"42", "orders", "shop")]
        assert records[0].headers == {"kept": 1, "mqctx": '{"user":"ada"}'}

    def test_the_context_has_what_this_process_would_not_accept(
        self, rejections: list[mqctx.Rejection]
    ) -> None:
        configure(accept=[])
        channel, *_ = pika_delivery(b"")
        with sent(channel) as records, scope(ADA):
            pika_adapter.publish(channel, "", "orders", b"42")
            channel.basic_publish("", "", b"", pika.BasicProperties(headers={"mqctx": "nonsense"}))
        assert [each.context for each in records] == [ADA, {}]
        assert rejections == []

    def test_a_propagator_of_its_own_reads(self) -> None:
        own = Propagator(formats=[JsonFormat("own")])
        channel, *_ = pika_delivery(b"")
        with sent(channel, propagator=own) as records, scope(ADA):
            pika_adapter.publish(channel, "", "orders", b"42", propagator=own)
        assert records[0].context == ADA
        with pytest.raises(mqctx.ConfigurationError), sent(channel, propagator="own"):  # type: ignore[arg-type]
            pass


async def on_exchange(publish: Callable[[aio_pika.Channel, aio_pika.Exchange], Any]) -> list[Sent]:
    channel = aio_pika.Channel(aio_pika.Connection(NOWHERE))
    exchange = aio_pika.Exchange(channel, "shop")
    with sent(exchange) as records, scope(ADA):
        await publish(channel, exchange)
    with pytest.raises(ChannelInvalidStateError):
        await exchange.publish(Message(b"42"), "orders")
    return records


class TestAioPika:
    def test_records_the_clients_own_publish_ours_and_what_is_instrumented(self) -> None:
        async def publish(channel: aio_pika.Channel, exchange: aio_pika.Exchange) -> None:
            confirmed: Any = await exchange.publish(Message(b"1"), "orders")
            assert confirmed.delivery_tag == 1
            await aio_pika_adapter.publish(exchange, Message(b"2"), "orders")
            for target in (channel, channel._connection, None):
                aio_pika_adapter.instrument(target)
                await exchange.publish(Message(b"3"), "orders")
                aio_pika_adapter.uninstrument(target)

        assert parts(asyncio.run(on_exchange(publish))) == [
            ({}, b"1", "orders", "shop"),
            (ADA, b"2", "orders", "shop"),
            *[(ADA, b"3", "orders", "shop")] * 3,
        ]

    def test_records_nothing_of_other_exchanges_and_other_calls(self) -> None:
        async def publish(channel: aio_pika.Channel, exchange: aio_pika.Exchange) -> None:
            with pytest.raises(ChannelInvalidStateError, match="was not opened"):
                await aio_pika.Exchange(channel, "other").publish(Message(b"1"), "orders")
            with pytest.raises(ChannelInvalidStateError, match="was not opened"):
                await exchange.delete()

        assert asyncio.run(on_exchange(publish)) == []

    def test_leaves_an_open_channel_to_all_others(self) -> None:
        async def publish() -> tuple[list[Sent], list[str]]:
            channel = aio_pika.Channel(aio_pika.Connection(NOWHERE))
            passed: list[str] = []

            async def basic_publish(body: bytes, **options: Any) -> None:
                passed.append(options["exchange"])

            below = SimpleNamespace(is_closed=False, basic_publish=basic_publish)
            channel._channel = cast("Any", SimpleNamespace(channel=below))
            shop, other = aio_pika.Exchange(channel, "shop"), aio_pika.Exchange(channel, "other")
            with sent(shop) as records:
                await shop.publish(Message(b"1"), "orders")
                await other.publish(Message(b"2"), "orders")
            await shop.publish(Message(b"3"), "orders")
            return records, passed

        records, passed = asyncio.run(publish())
        assert parts(records) == [({}, b"1", "orders", "shop")]
        assert passed == ["other", "shop"]

    def test_records_all_of_a_channel(self) -> None:
        async def publish() -> list[Sent]:
            channel = aio_pika.RobustChannel(aio_pika.RobustConnection(NOWHERE))
            with sent(channel) as records, scope(ADA):
                await aio_pika_adapter.publish(channel.default_exchange, Message(b"1"), "orders")
                exchange = await channel.get_exchange("shop", ensure=False)
                await aio_pika_adapter.publish(exchange, Message(b"2"), "orders")
            return records

        assert parts(asyncio.run(publish())) == [
            (ADA, b"1", "orders", ""),
            (ADA, b"2", "orders", "shop"),
        ]


class TestPika:
    def test_records_the_clients_own_publish_ours_and_what_is_instrumented(self) -> None:
        channel, *_ = pika_delivery(b"")
        with sent(channel) as records, scope(ADA):
            channel.basic_publish("", "orders", b"1")
            pika_adapter.publish(channel, "", "orders", b"2")
            for target in (channel, None):
                pika_adapter.instrument(target)
                channel.basic_publish("", "orders", b"3")
                pika_adapter.uninstrument(target)
            channel.basic_ack(1)
        assert parts(records) == [
            ({}, b"1", "orders", ""),
            (ADA, b"2", "orders", ""),
            *[(ADA, b"3", "orders", "")] * 2,
        ]

    def test_a_channel_that_is_closed_publishes_too_and_is_confirmed(self) -> None:
        channel: Any = pika_delivery(b"")[0]
        channel._impl._set_state(Channel.CLOSED)
        channel._delivery_confirmation = True
        with sent(channel) as records:
            channel.basic_publish("", "orders", b"1")
        assert parts(records) == [({}, b"1", "orders", "")]
        with sent(channel._impl) as records:
            channel._impl.basic_publish("", "orders", b"2")
        assert parts(records) == [({}, b"2", "orders", "")]
        with pytest.raises(ChannelWrongStateError):
            channel.basic_publish("", "orders", b"1")


class TestKombu:
    def test_records_the_clients_own_publish_ours_and_what_is_instrumented(self) -> None:
        connection = kombu.Connection(NOWHERE, connect_timeout=1)
        producer = connection.Producer()
        with sent(producer) as records, scope(ADA):
            producer.publish({"id": 1}, routing_key="orders", retry=True)
            kombu_adapter.publish(producer, b"2", "orders", exchange="shop")
            for target in (connection, producer, None):
                kombu_adapter.instrument(target)
                producer.publish("3", routing_key="orders")
                kombu_adapter.uninstrument(target)
        assert parts(records) == [
            ({}, b'{"id": 1}', "orders", ""),
            (ADA, b"2", "orders", "shop"),
            *[(ADA, b"3", "orders", "")] * 3,
        ]
        with pytest.raises((OSError, OperationalError)):
            producer.publish("4", routing_key="orders")

    def test_records_all_of_a_channel_and_of_an_exchange_only_its_own(self) -> None:
        with kombu.Connection("memory://") as connection, connection.channel() as channel:
            producer, shop = connection.Producer(channel), kombu.Exchange("shop", channel=channel)
            with sent(channel) as records, scope(ADA):
                kombu_adapter.publish(producer, {"id": 1}, "orders")
            assert parts(records) == [(ADA, b'{"id": 1}', "orders", "")]
            with sent(producer) as records:
                producer.publish(b"1", "orders")
            assert parts(records) == [({}, b"1", "orders", "")]
            queue = kombu.Queue("mqctx-testing", channel=channel)
            queue.declare()
            with sent(shop) as records, scope(ADA):
                kombu_adapter.publish(producer, b"2", "orders", exchange="shop")
                kombu_adapter.publish(producer, b"3", queue.name)
                shop.publish(shop.Message(b"4"), "orders")
            assert parts(records) == [(ADA, b"2", "orders", "shop"), ({}, b"4", "orders", "shop")]
            message: Any = queue.get(no_ack=True)
            assert message.body == b"3"

    def test_records_a_channel_of_amqp(self) -> None:
        channel: Any = kombu_message(b"").channel
        with sent(channel) as records, scope(ADA):
            kombu_adapter.publish(kombu.Producer(channel), "1", "orders", correlation_id="c-1")
        assert parts(records) == [(ADA, b"1", "orders", "")]
