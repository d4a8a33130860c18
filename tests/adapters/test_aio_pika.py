"""What is particular to aio-pika."""

import asyncio
import functools
import inspect
import logging
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from mqctx import Context, current, scope
from mqctx.adapters.aio_pika import consume_with_context, publish
from tests.adapters.clients import RecordingAiormqChannel, exchange, incoming

CARRIED = {"mqctx": '{"user":"ada"}'}


@consume_with_context
async def on_order(message: AbstractIncomingMessage) -> Context:
    """Bill the order."""
    await asyncio.sleep(0)
    return current()


class Worker:
    @consume_with_context
    async def decorated(self, message: AbstractIncomingMessage) -> Context:
        await asyncio.sleep(0)
        return current()

    async def __call__(self, message: AbstractIncomingMessage) -> Context:
        await asyncio.sleep(0)
        return current()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "handler",
    [
        on_order,
        Worker().decorated,
        consume_with_context(Worker()),
        consume_with_context(functools.partial(Worker())),
    ],
    ids=["async def", "method", "object", "partial"],
)
async def test_an_async_handler_stays_async_and_runs_in_its_messages_context(handler: Any) -> None:
    assert inspect.iscoroutinefunction(handler)
    with scope(user="ambient"):
        assert await handler(incoming(CARRIED)) == {"user": "ada"}
        assert await handler(incoming(None)) == {}
        assert current() == {"user": "ambient"}


@pytest.mark.asyncio
async def test_a_handler_may_be_called_with_names_as_a_test_would() -> None:
    assert await on_order(message=incoming(CARRIED)) == {"user": "ada"}


@pytest.mark.asyncio
async def test_cancelling_a_handler_leaves_nothing_active() -> None:
    seen: list[Context] = []

    @consume_with_context
    async def wait(message: AbstractIncomingMessage) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(current())

    with scope(user="ambient"):
        task = asyncio.create_task(wait(incoming(CARRIED)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert current() == {"user": "ambient"}
    assert seen == [{"user": "ada"}]


@pytest.mark.asyncio
async def test_a_handler_publishes_on_in_its_own_context() -> None:
    channel = RecordingAiormqChannel()

    @consume_with_context
    async def bill(message: AbstractIncomingMessage) -> None:
        await publish(exchange(channel), message, routing_key="bills")

    message = incoming({"mqctx": '{"user":"ada","old":1}', "kind": "order"})
    message.lock()  # as it is after an ack
    await bill(message)
    assert message.headers == {"mqctx": '{"user":"ada","old":1}', "kind": "order"}
    assert channel.published[0]["properties"].headers == message.headers
    assert channel.published[0]["properties"].headers is not message.headers


@pytest.mark.asyncio
async def test_everything_but_the_headers_is_sent_as_the_client_would() -> None:
    message = aio_pika.Message(
        b"42",
        headers={"kind": "order"},
        content_type="text/plain",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        priority=5,
        correlation_id="c-1",
        expiration=60,
        message_id="m-1",
        type="order",
        app_id="shop",
    )
    ours, theirs = RecordingAiormqChannel(), RecordingAiormqChannel()
    options: dict[str, Any] = {"mandatory": False, "timeout": 5}
    with scope(user="ada"):
        await publish(exchange(ours), message, "orders", **options)
    await exchange(theirs).publish(message, "orders", **options)
    sent, expected = ours.published[0], theirs.published[0]
    assert sent["properties"].headers == {"kind": "order", **CARRIED}
    sent["properties"].headers = expected["properties"].headers
    assert dict(sent["properties"]) == dict(expected["properties"])
    assert {k: v for k, v in sent.items() if k != "properties"} == {
        k: v for k, v in expected.items() if k != "properties"
    }


@pytest.mark.asyncio
async def test_one_message_serves_many_publishes() -> None:
    message, channel = aio_pika.Message(b"42"), RecordingAiormqChannel()
    for user in ("ada", "grace"):
        with scope(user=user):
            await publish(exchange(channel), message, "orders")
    sent = [publish["properties"] for publish in channel.published]
    assert [p.headers for p in sent] == [CARRIED, {"mqctx": '{"user":"grace"}'}]
    assert sent[0] is not sent[1]
    assert message.headers == {}


@pytest.mark.asyncio
async def test_the_context_is_the_one_of_the_call_not_of_the_await() -> None:
    message, channel = aio_pika.Message(b"42", headers={"kind": "order"}), RecordingAiormqChannel()
    with scope(user="ada"):
        publishing = publish(exchange(channel), message, "orders")
    message.headers["kind"] = "changed while it waits"
    await publishing
    assert channel.published[0]["properties"].headers == {"kind": "order", **CARRIED}


class AuditedExchange(aio_pika.Exchange):
    """Looks at what it publishes, as an application's own Exchange may."""

    async def publish(self, message: Any, routing_key: str, **options: Any) -> Any:
        self.audited = (message.headers, message.content_type, message.body_size)
        return await super().publish(message, routing_key, **options)


@pytest.mark.asyncio
async def test_an_exchange_of_the_applications_own_sees_a_whole_message() -> None:
    audited: Any = AuditedExchange(RecordingAiormqChannel(), "orders")  # type: ignore[arg-type]  # it only records
    with scope(user="ada"):
        await publish(audited, aio_pika.Message(b"42", content_type="text/plain"), "orders")
    assert audited.audited == (CARRIED, "text/plain", 2)


@pytest.mark.asyncio
async def test_the_clients_debug_log_shows_the_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aio_pika.exchange")
    message = aio_pika.Message(b"42", type="order")
    await publish(exchange(RecordingAiormqChannel()), message, "orders")
    assert "'type': 'order'" in caplog.text
