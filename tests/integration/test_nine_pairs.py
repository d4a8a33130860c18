"""Every publisher with every consumer on a real broker: values arrive equal in value and type."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from mqctx import Context, Variable, current, scope
from tests.drivers.clients import CLIENTS, Client


class Plan(Enum):
    PRO = "pro"


VALUES: dict[str, Any] = {
    "text": "r-1",
    "non_ascii": "Zo\u00eb \U0001f600 \u4e16\u754c",
    "awkward": "a\x00b\r\n\"'\\\x7f\u2028",
    "empty": "",
    "zero": 0,
    "negative": -1000,
    "int64_max": 2**63 - 1,
    "int64_min": -(2**63),
    "bigger": 2**100,
    "fraction": 0.1,
    "huge": 1e300,
    "whole": 1.0,
    "yes": True,
    "no": False,
    "nothing": None,
    "nested": [1, [2.5, None], {"a": {"b": ["\u00e9", True]}}],
    "empties": [[], {}],
    "user.id": "dotted",
    "with-dash": "dashed",
}
DECLARED: dict[str, Any] = {
    "order_id": UUID("12345678-1234-5678-1234-567812345678"),
    "placed_at": dt.datetime(2026, 11, 22, 9, 30, 0, 123456, dt.timezone(dt.timedelta(hours=2))),
    "total": Decimal("19.90"),
    "plan": Plan.PRO,
}


@pytest.fixture(params=CLIENTS, ids=lambda name: f"from {name}")
def publisher(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture(params=CLIENTS, ids=lambda name: f"to {name}")
def consumer(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


def shape(value: object) -> object:
    """Return the types of a value and of all that is in it."""
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value)


def test_a_context_arrives_equal_in_value_and_type(
    publisher: Client, consumer: Client, amqp_url: str, queue: str
) -> None:
    for name, value in DECLARED.items():
        Variable(name, type(value))
    sent = Context(VALUES | DECLARED)
    arrived: list[tuple[bytes, Context]] = []
    publisher.publish(amqp_url, queue, (sent, b"order"))
    with scope(user="ambient"):
        consumer.consume(amqp_url, queue, 1, lambda body: arrived.append((body, current())))
    assert arrived == [(b"order", sent)]
    assert shape(dict(arrived[0][1])) == shape(dict(sent))


def test_messages_with_and_without_context_do_not_mix(
    publisher: Client, consumer: Client, amqp_url: str, queue: str
) -> None:
    arrived: list[tuple[bytes, Mapping[str, object]]] = []
    publisher.publish(amqp_url, queue, ({"user": "ada"}, b"1"), ({}, b"2"))
    publisher.publish(amqp_url, queue, ({"tenant": "acme"}, b"3"), headers={"kind": "order"})
    with scope(user="ambient"):
        consumer.consume(amqp_url, queue, 3, lambda body: arrived.append((body, current())))
        assert current() == {"user": "ambient"}
    assert arrived == [(b"1", {"user": "ada"}), (b"2", {}), (b"3", {"tenant": "acme"})]
