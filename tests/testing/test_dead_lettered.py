"""Handlers and blocks with `dead_letter=`, without a broker: what is settled, and the copy."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

import mqctx
from mqctx import ConfigurationError
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from mqctx.testing import (
    Settlement,
    aio_pika_message,
    dead_lettered,
    kombu_message,
    pika_delivery,
    settled,
)

BODY = b"order 42"
Work: TypeAlias = Callable[[], None]
Handle: TypeAlias = Callable[[Work], Any]
"""Lets work be done for a message of `tenant="acme"`; returns what tells of that message."""


def async_handler_of_aio_pika(work: Work) -> Any:
    @aio_pika_adapter.consume_with_context(dead_letter="orders.dlx")
    async def on_order(_: Any) -> None:
        await asyncio.sleep(0)
        work()

    message = aio_pika_message(BODY, tenant="acme")
    asyncio.run(on_order(message))
    return message


def sync_handler_of_aio_pika(work: Work) -> Any:
    @aio_pika_adapter.consume_with_context(dead_letter="orders.dlx")
    def on_order(_: Any) -> None:
        work()

    async def call() -> None:
        on_order(message)
        await asyncio.sleep(0)  # it is settled on the loop

    message = aio_pika_message(BODY, tenant="acme")
    asyncio.run(call())
    return message


def block_of_aio_pika(work: Work) -> Any:
    async def on_order() -> None:
        async with aio_pika_adapter.settled(message, dead_letter="orders.dlx"):
            work()

    message = aio_pika_message(BODY, tenant="acme")
    asyncio.run(on_order())
    return message


def handler_of_kombu(work: Work) -> Any:
    @kombu_adapter.consume_with_context(dead_letter="orders.dlx")
    def on_order(_: object, __: Any) -> None:
        work()

    message = kombu_message(BODY, tenant="acme")
    on_order(message.payload, message)
    return message


def block_of_kombu(work: Work) -> Any:
    def on_order() -> None:
        with kombu_adapter.settled(message, dead_letter="orders.dlx"):
            work()

    message = kombu_message(BODY, tenant="acme")
    on_order()
    return message


def handler_of_pika(work: Work) -> Any:
    @pika_adapter.consume_with_context(dead_letter="orders.dlx")
    def on_order(*_: Any) -> None:
        work()

    delivery = pika_delivery(BODY, tenant="acme")
    on_order(*delivery)
    return delivery[0]


def block_of_pika(work: Work) -> Any:
    def on_order() -> None:
        with pika_adapter.settled(*delivery, dead_letter="orders.dlx"):
            work()

    delivery = pika_delivery(BODY, tenant="acme")
    on_order()
    return delivery[0]


HANDLERS: list[Handle] = [
    async_handler_of_aio_pika,
    sync_handler_of_aio_pika,
    handler_of_kombu,
    handler_of_pika,
]
BLOCKS: list[Handle] = [block_of_aio_pika, block_of_kombu, block_of_pika]
ways = pytest.mark.parametrize("handle", [*HANDLERS, *BLOCKS])


def refuse() -> None:
    mqctx.bind(card="ends in 4242")
    raise ValueError("no such order")


@ways
def test_a_message_that_fails_is_acknowledged_and_its_copy_is_recorded(handle: Handle) -> None:
    message = handle(refuse)
    assert settled(message) == [Settlement("ack")]
    (copy,) = dead_lettered(message)
    assert copy.context == {"tenant": "acme"}
    assert copy.headers["mqctx"] == '{"tenant":"acme"}'
    assert (copy.exchange, copy.routing_key, copy.body) == ("orders.dlx", "", BODY)


@ways
def test_the_copy_tells_why_the_message_failed(handle: Handle) -> None:
    (copy,) = dead_lettered(handle(refuse))
    assert copy.failure is not None
    assert (copy.failure.type, copy.failure.message) == ("ValueError", "no such order")
    assert copy.failure.bound == {"card": "ends in 4242"}
    assert copy.failure.handler is not None
    assert "on_order" in copy.failure.handler


@ways
def test_a_message_that_succeeds_is_acknowledged_without_a_copy(handle: Handle) -> None:
    message = handle(lambda: None)
    assert settled(message) == [Settlement("ack")]
    assert dead_lettered(message) == []


def test_a_body_that_kombu_serializes_is_in_the_copy_as_it_came() -> None:
    message = kombu_message({"id": 42})
    with kombu_adapter.settled(message, dead_letter="orders.dlx"):
        refuse()
    assert [copy.body for copy in dead_lettered(message)] == [b'{"id": 42}']


def test_a_routing_key_of_the_setting_is_that_of_the_copy() -> None:
    to = pika_adapter.DeadLetter("orders.dlx", routing_key="orders.dead", queue="orders")

    @pika_adapter.consume_with_context(dead_letter=to)
    def on_order(*_: Any) -> None:
        refuse()

    channel, *delivery = pika_delivery(BODY)
    on_order(channel, *delivery)
    (copy,) = dead_lettered(channel)
    assert copy.routing_key == "orders.dead"
    assert copy.failure is not None
    assert copy.failure.queue == "orders"


def test_what_no_builder_made_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="was not made here"):
        dead_lettered(object())
