"""Conditions on messages, and what their names stand for."""

import time
from typing import Any

import pytest

from mqctx.errors import ConfigurationError
from mqctx.inspection import Message, Where
from mqctx.inspection._where import fits

from .messages import message

DEATHS = [
    {"queue": "orders.in", "reason": "rejected", "count": 2, "routing-keys": ["a", "b"]},
    {"queue": "orders.wait", "reason": "expired", "count": 1},
]


def chosen(text: str, of: Message) -> bool:
    return Where.parse(text).matches(of)


@pytest.fixture
def dead() -> Message:
    context = '{"tenant":"acme","order.id":7,"paid":true,"tags":["new","big"],"note":null}'
    failure = '{"type":"CardExpired","message":"card","bound":{"customer":"c-1","tenant":"x"}}'
    return message(
        {"mqctx": context, "mqctx-failure": failure, "x-death": DEATHS, "shop": {"de.lang": "de"}},
        message_id="m-1",
        body=b"12345",
    )


@pytest.mark.parametrize(
    "text",
    [
        "tenant=acme",
        "tenant=a*e",
        "tenant=*",
        "context.tenant=acme",
        "order.id=7",
        "context.order.id=7",
        "paid=true",
        "note=null",
        "celery=null",
        'tags=["new","big"]',
        "tags=*big*",
        "customer=c-1",
        "failure.type=Card*",
        "failure.bound.tenant=x",
        "death.reason=rejected",
        "death.count=2",
        "death.routing_keys=b",
        "deaths.reason=expired",
        "message.id=m-1",
        "id=m-1",
        "message.bytes=5",
        "queue=orders.dead",
        "from=orders.in",
        "headers.shop.de.lang=de",
        "verified=null",
    ],
)
def test_a_condition_holds(text: str, dead: Message) -> None:
    assert chosen(text, dead)


@pytest.mark.parametrize(
    "text",
    [
        "tenant=Acme",
        "tenant=acm",
        "tenant=acme?",
        "tenant=[a]cme",
        "user=*",
        "user=null",
        "context.user=*",
        "headers.none=*",
        "celery.task=*",
        "order.id=7.0",
        "paid=True",
        "death.reason=expired",
        "bound.tenant=x",
        "message=x",
        "celery=*",
        "note=*",
    ],
)
def test_a_condition_does_not_hold(text: str, dead: Message) -> None:
    assert not chosen(text, dead)


def test_a_bare_name_is_the_contexts_before_the_failures(dead: Message) -> None:
    assert not chosen("tenant=x", dead)


@pytest.mark.parametrize("text", ["tenant", "=acme", ""])
def test_a_condition_without_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="NAME=VALUE"):
        Where.parse(text)


def test_a_value_may_have_an_equals_sign() -> None:
    assert Where.parse("query=a=b") == Where("query", "a=b")


@pytest.mark.parametrize(
    ("pattern", "text", "is_fit"),
    [
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c", False),
        ("ab*ba", "aba", False),
        ("*x*x*", "x", False),
        ("**", "", True),
        ("a*", "b", False),
    ],
)
def test_a_star_is_anything(pattern: str, text: str, is_fit: bool) -> None:
    assert fits(pattern, text) is is_fit


def test_many_stars_take_linear_time() -> None:
    began = time.process_time()
    assert not fits("a*" * 1000 + "b", "a" * 100_000)
    assert time.process_time() - began < 2


def test_a_message_without_deaths_has_no_newest_one() -> None:
    assert not chosen("death.reason=*", message())


def test_a_failure_without_bound_values_is_none_of_a_problem() -> None:
    said: dict[str, Any] = {"mqctx-failure": '{"type":"E"}'}
    assert not chosen("customer=*", message(said))
