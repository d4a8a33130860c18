"""Never executed: what the type checkers must see in the arguments and results of `publish`."""

from typing import assert_type

from aio_pika.abc import AbstractExchange, AbstractMessage
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from mqctx import Propagator
from mqctx.adapters.aio_pika import publish


async def publish_has_the_parameters_and_results_of_the_clients_own(
    exchange: AbstractExchange, message: AbstractMessage
) -> None:
    sent = await publish(exchange, message, "orders")
    assert_type(sent, Basic.Ack | DeliveredMessage | None)
    assert_type(await exchange.publish(message, "orders"), Basic.Ack | DeliveredMessage | None)
    dropped = await publish(
        exchange, message, "orders", mandatory=False, timeout=5, propagator=Propagator()
    )
    assert_type(dropped, Basic.Ack | None)
    await publish(exchange, message, "orders", mandotary=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # must be an error
    await publish(exchange, message, "orders", timeout="5")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # must be an error
    await publish(exchange, b"42", "orders")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # must be an error
