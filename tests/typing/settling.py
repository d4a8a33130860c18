"""Never executed: what the type checkers must see where mqctx settles messages."""

from typing import assert_type

from aio_pika.abc import AbstractIncomingMessage
from kombu.message import Message
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic

from mqctx.adapters import aio_pika, kombu, pika
from mqctx.inspection import Failure


@aio_pika.consume_with_context(dead_letter=aio_pika.DeadLetter("dlx", queue="in", fallback="hold"))
async def on_order(message: AbstractIncomingMessage) -> int:
    return len(message.body)


@kombu.consume_with_context(dead_letter="dlx")
def on_task(message: Message) -> bool:
    return True


@pika.consume_with_context(dead_letter=pika.DeadLetter("dlx", traceback=True, redact=str.upper))
def on_delivery(
    channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
) -> None: ...


async def handlers_keep_their_signatures(
    message: AbstractIncomingMessage, kombu_message: Message
) -> None:
    assert_type(await on_order(message), int)
    assert_type(on_task(kombu_message), bool)
    on_delivery(b"")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]  # must be an error


async def blocks_take_the_clients_messages(
    message: AbstractIncomingMessage, kombu_message: Message, channel: BlockingChannel
) -> None:
    async with aio_pika.settled(message, dead_letter="dlx"):
        pass
    with kombu.settled(kombu_message, dead_letter=kombu.DeadLetter("dlx")):
        pass
    with pika.settled(channel, *channel.basic_get("in"), dead_letter="dlx"):
        pass
    aio_pika.settled(message)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # must be an error
    kombu.settled("no message", dead_letter="dlx")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error
    pika.DeadLetter("dlx", fallback="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # must be an error


def a_failure_is_read_from_its_header(header: object) -> None:
    failure = Failure.from_header(header)
    assert_type(failure, Failure | None)
    if failure is not None:
        assert_type(failure.type, str | None)
        assert_type(failure.attempt, int | None)
