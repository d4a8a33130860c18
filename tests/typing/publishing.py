"""Never executed: what the type checkers must see in calls of `publish`."""

from typing import assert_type

from kombu.messaging import Producer
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.channel import Channel

from mqctx import Propagator
from mqctx.adapters import kombu, pika


def pika_publishes(blocking: BlockingChannel, channel: Channel) -> None:
    properties = BasicProperties(delivery_mode=2)  # type: ignore[no-untyped-call]  # pika left it so
    pika.publish(blocking, "", "orders", b"42", properties, mandatory=True)
    assert_type(pika.publish(channel, "", "orders", b"42", propagator=Propagator()), None)
    pika.publish(channel, "", "orders", b"42", mandotary=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # must be an error
    pika.publish(channel, "", "orders", b"42", {"a": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error


def kombu_publishes(producer: Producer) -> None:
    kombu.publish(producer, {"id": 42}, "orders", headers={"kind": "order"}, retry=True)
    kombu.publish(producer, "42", exchange="orders", correlation_id="c-1", propagator=Propagator())
    kombu.publish(producer, "42", mandotary=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # must be an error
    kombu.publish(producer, "42", corelation_id="c-1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # must be an error
    kombu.publish(producer, "42", headers="kind")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error
