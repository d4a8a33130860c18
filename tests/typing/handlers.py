"""Never executed: what the type checkers must see in handlers, runs and variables."""

from enum import Enum
from typing import Any, Literal, assert_type
from uuid import UUID

from aio_pika.abc import AbstractIncomingMessage
from kombu.message import Message
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic

import mqctx
from mqctx import Propagator, Variable
from mqctx.adapters import aio_pika, kombu, pika


@aio_pika.consume_with_context
async def on_order(message: AbstractIncomingMessage) -> int:
    return len(message.body)


@aio_pika.consume_with_context(propagator=Propagator())
def on_order_sync(message: AbstractIncomingMessage) -> str:
    return message.body.decode()


@pika.consume_with_context
def on_delivery(
    channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
) -> None: ...


@kombu.consume_with_context
def on_task(body: dict[str, Any], message: Message) -> None: ...


class Worker:
    @kombu.consume_with_context
    def on_message(self, message: Message) -> bool:
        return True


async def handlers_keep_their_signatures(
    message: AbstractIncomingMessage, kombu_message: Message
) -> None:
    assert_type(await on_order(message), int)
    assert_type(on_order_sync(message), str)
    assert_type(Worker().on_message(kombu_message), bool)
    await on_order("no message")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error
    on_task({}, kombu_message, 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # must be an error
    on_delivery(b"")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]  # must be an error


def add(first: int, *, second: int = 0) -> int:
    return first + second


async def add_later(first: int) -> str:
    return str(first)


async def runs_keep_arguments_and_results() -> None:
    context = mqctx.Context(user="ada")
    assert_type(context.run(add, 1, second=2), int)
    assert_type(await mqctx.run({}, add_later, 1), str)
    assert_type(mqctx.wrap(add)(1, second=2), int)
    assert_type(await context.wrap(add_later)(1), str)
    assert_type(mqctx.scope(user="ada")(add)(1), int)
    mqctx.run({}, add, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error
    context.run(add, 1, third=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # must be an error
    mqctx.wrap(add)("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error
    with context.scope() as active:
        assert_type(active, mqctx.Context)


class Plan(Enum):
    FREE = "free"


def variables_are_typed() -> None:
    tenant = Variable("tenant", str)
    user_id = Variable("user_id", int, default=None)
    assert_type(tenant.get(), str)
    assert_type(user_id.get(), int | None)
    assert_type(Variable("order", UUID).get(), UUID)
    assert_type(Variable("plan", Plan).get(), Plan)
    assert_type(Variable("tags", list[str]).get(), list[str])
    assert_type(Variable("limit", int | None).get(), int | None)
    assert_type(Variable("mode", Literal["fast", "safe"]).get(), Literal["fast", "safe"])
    tenant.bind("acme")
    tenant.bind(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error
    assert_type(tenant.run("acme", add, 1), int)
    tenant.scope(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error
    tenant.run(5, add, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error
