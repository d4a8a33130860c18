"""The broker's own history of a message."""

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection import Death, Message
from mqctx.inspection._connection import Delivery
from mqctx.inspection._contexts import ContextReader

FROM_3_10 = (
    b" \x80\x00\x00\x01\xa3\x07x-deathA\x00\x00\x01)F\x00\x00\x00}\x05countl\x00\x00\x00\x00\x00"
    b"\x00\x00\x01\x08exchangeS\x00\x00\x00\x00\x05queueS\x00\x00\x00\x0bd-5db1a9.in\x06reasonS"
    b"\x00\x00\x00\x0edelivery_limit\x0crouting-keysA\x00\x00\x00\x10S\x00\x00\x00\x0bd-5db1a9.in"
    b"\x04timeT\x00\x00\x00\x00k\x0b2 F\x00\x00\x00\xa2\x05countl\x00\x00\x00\x00\x00\x00\x00\x01"
    b"\x06reasonS\x00\x00\x00\x08rejected\x05queueS\x00\x00\x00\x0cd-5db1a9.in2\x04timeT\x00\x00"
    b"\x00\x00k\x0b2\x1f\x08exchangeS\x00\x00\x00\nd-5db1a9.x\x0crouting-keysA\x00\x00\x00\x12S"
    b"\x00\x00\x00\x04.in2S\x00\x00\x00\x04.in2\x13original-expirationS\x00\x00\x00\x0510000"
    b"\x16x-first-death-exchangeS\x00\x00\x00\nd-5db1a9.x\x13x-first-death-queueS\x00\x00\x00\x0c"
    b"d-5db1a9.in2\x14x-first-death-reasonS\x00\x00\x00\x08rejected\x05twice"
)
"""The properties of a message that RabbitMQ 3.10.8 had dead-lettered twice."""


def test_those_of_rabbitmq_3_10_are_told_the_newest_first() -> None:
    delivery = Delivery(1, "", "dead", False, ContentHeader(FROM_3_10), b"")
    message = Message("dead", 1, delivery, ContextReader())
    assert (message.id, message.came_from, message.deliveries) == ("twice", "d-5db1a9.in", None)
    assert message.deaths == (
        Death("d-5db1a9.in", "delivery_limit", 1, "", ("d-5db1a9.in",), "2026-11-28T19:57:20Z"),
        Death(
            "d-5db1a9.in2", "rejected", 1, "d-5db1a9.x", (".in2", ".in2"), "2026-11-28T19:57:19Z"
        ),
    )


def test_a_routing_key_that_is_not_utf_8_is_kept_as_it_is_and_shown_by_its_codes() -> None:
    properties = FROM_3_10.replace(
        b"\x00\x0bd-5db1a9.in\x04time", b"\x00\x0bd-5db1a9.i\xff\x04time"
    )
    message = Message(
        "dead", 1, Delivery(1, "", "", False, ContentHeader(properties), b""), ContextReader()
    )
    assert message.deaths[0].routing_keys == ("d-5db1a9.i\udcff",)
    assert message.as_json()["deaths"][0]["routing_keys"] == [r"d-5db1a9.i\xff"]
