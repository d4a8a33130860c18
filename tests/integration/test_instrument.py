"""An application that knows nothing of mqctx runs unchanged when its clients are instrumented."""

import asyncio
import functools
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest

import mqctx
from mqctx.adapters import aio_pika, kombu, pika
from tests.drivers.on_pika import pika_channel
from tests.integration import shop as application

ADAPTERS: tuple[Any, ...] = (aio_pika, kombu, pika)
CUSTOMERS = {"ada": ["book", "lamp", "unicorn"], "grace": ["chair", "cup"]}
ORDERS = 4  # there are no unicorns


@pytest.fixture
def shop(amqp_url: str) -> Iterator[application.Shop]:
    day = application.Shop(amqp_url, f"shop-{uuid4().hex[:8]}", ORDERS)
    yield day
    with pika_channel(amqp_url) as channel:
        for name in ("shipping", "archive"):
            channel.queue_delete(day.name(name))


@pytest.fixture
def instrumented() -> Iterator[None]:
    for adapter in ADAPTERS:
        adapter.instrument()
    yield
    for adapter in ADAPTERS:
        adapter.uninstrument()


@pytest.fixture
def shop_lines() -> Iterator[list[tuple[str, mqctx.Context]]]:
    """The lines that the application logs, each with the context that was active."""
    seen: list[tuple[str, mqctx.Context]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.getMessage(), mqctx.current()))

    handler = Handler()
    application.log.addHandler(handler)
    application.log.setLevel(logging.INFO)
    yield seen
    application.log.removeHandler(handler)


def day_in(shop: application.Shop) -> list[str]:
    """Let the shop open, each request in its own context, and tell what came of it."""
    requests = [
        functools.partial(place_order, customer, article)
        for customer, articles in CUSTOMERS.items()
        for article in articles
    ]
    outcomes = asyncio.run(application.open_for_a_day(shop, requests))
    results = [f"{type(outcome).__name__} {outcome!r}" for outcome in outcomes]
    done = (shop.bills, shop.parcels, application.archived(shop), shop.unreadable, shop.letters)
    return [*results, *(line for each in done for line in told(each))]


def place_order(customer: str, article: str, web: application.Web) -> Any:
    """Serve a request, as a middleware would."""
    return mqctx.run({"user": customer, "article": article}, web.place, customer, article)


def told(things: Sequence[object]) -> list[str]:
    """Tell what happened in an order that does not depend on who was faster."""
    return sorted(map(str, things))


def test_the_application_loses_its_context_by_itself(
    shop: application.Shop, shop_lines: list[tuple[str, mqctx.Context]]
) -> None:
    day_in(shop)
    assert {line for line, context in shop_lines if context} == {
        f"place {article}" for articles in CUSTOMERS.values() for article in articles
    }


@pytest.mark.usefixtures("instrumented")
def test_instrumented_it_keeps_it_in_every_service(
    shop: application.Shop, shop_lines: list[tuple[str, mqctx.Context]]
) -> None:
    day_in(shop)
    of_orders = [(re.sub("^letter .*", "letter", line), context) for line, context in shop_lines]
    for customer, articles in CUSTOMERS.items():
        for article in articles:
            context = {"user": customer, "article": article}
            done = sorted(line for line, seen in of_orders if seen == context)
            expected = [f"{verb} {article}" for verb in ("bill", "place", "price", "ship")]
            if article == "unicorn":
                assert done == ["place unicorn", "price unicorn"]
            else:
                assert done == sorted([*expected, "letter"])
    assert [line for line, context in shop_lines if not context] == ["unreadable"]
    assert mqctx.current() == {}


def test_instrumented_it_gives_the_same_results_and_raises_the_same(
    amqp_url: str, shop: application.Shop
) -> None:
    plain = day_in(shop)
    for adapter in ADAPTERS:
        adapter.instrument()
    again = application.Shop(amqp_url, f"{shop.prefix}-again", ORDERS)
    try:
        assert day_in(again) == plain
    finally:
        for adapter in ADAPTERS:
            adapter.uninstrument()
        with pika_channel(amqp_url) as channel:
            for name in ("shipping", "archive"):
                channel.queue_delete(again.name(name))
    assert any("OutOfStockError('unicorn')" in line for line in plain)
    assert any("DecodeError" in line for line in plain)
