"""FastStream, without a broker: TestRabbitBroker handles each message in its publisher's task."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, cast

import aio_pika
import pytest
from faststream import BaseMiddleware, Depends, ExceptionMiddleware
from faststream.rabbit import RabbitBroker, RabbitMessage, RabbitResponse, TestRabbitBroker
from faststream.rabbit.opentelemetry import RabbitTelemetryMiddleware
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import mqctx
from mqctx import Context, Propagator, bind, current, scope
from mqctx.adapters.faststream import ContextMiddleware, restored
from tests.adapters.conftest import other

pytestmark = [pytest.mark.usefixtures("ambient"), pytest.mark.asyncio]

ADA = {"mqctx": '{"user":"ada"}'}
Seen = list[tuple[Mapping[str, object], dict[str, Any]]]
"""The context and the headers of each message."""


def in_memory_rabbit(*middlewares: Any, **options: Any) -> RabbitBroker:
    """Make a broker with our middleware, or with these."""
    return RabbitBroker(middlewares=middlewares or (ContextMiddleware,), logger=None, **options)


def contexts_received(broker: RabbitBroker, queue: str = "orders") -> Seen:
    """Return the contexts and headers of the messages that a handler gets, as they come."""
    seen: Seen = []

    @broker.subscriber(queue)
    async def handler(message: RabbitMessage) -> None:
        await asyncio.sleep(0)
        seen.append((current(), message.headers))

    return seen


@contextmanager
def undisturbed() -> Iterator[None]:
    """Expect that afterwards is active what was before, whatever happens."""
    before = current(), other.get()
    try:
        yield
    finally:
        assert current() is before[0]
        assert other.get() == before[1]


async def publish_in_context(broker: RabbitBroker, context: dict[str, Any], **options: Any) -> None:
    """Publish one message in a context."""
    with Context(context).scope(), undisturbed():
        await broker.publish(options.pop("body", "42"), options.pop("queue", "orders"), **options)


async def deliver_headers(broker: RabbitBroker, headers: dict[str, Any]) -> None:
    """Publish one message with exactly these headers, past the middlewares."""
    producer: Any = broker.config.producer
    handled = RabbitResponse("42", headers=headers).as_publish_command()
    handled.destination = "orders"
    with undisturbed():
        await producer.publish(handled)


async def test_a_handler_runs_in_the_context_of_its_message_and_nothing_more() -> None:
    broker = in_memory_rabbit()
    seen = contexts_received(broker)
    async with TestRabbitBroker(broker):
        for headers in (ADA, {}, {"own": 1}, {"mqctx": '{"tenant":"acme"}'}):
            await deliver_headers(broker, headers)
    assert [context for context, _ in seen] == [{"user": "ada"}, {}, {}, {"tenant": "acme"}]


async def test_a_message_is_published_with_the_active_context_in_its_headers() -> None:
    broker = in_memory_rabbit()
    seen = contexts_received(broker)
    async with TestRabbitBroker(broker):
        await publish_in_context(broker, {"user": "ada", "tenant": "acme"})
        await publish_in_context(broker, {})
    assert seen == [
        ({"user": "ada", "tenant": "acme"}, {"mqctx": '{"user":"ada","tenant":"acme"}'}),
        ({}, {}),
    ]


async def test_a_sync_handler_in_a_thread_does_too_and_what_it_binds_is_published() -> None:
    broker = in_memory_rabbit()
    seen = contexts_received(broker, "results")

    @broker.subscriber("orders")
    @broker.publisher("results")
    def handler(body: str) -> str:
        bind(by=current()["user"])
        return body

    async with TestRabbitBroker(broker):
        await deliver_headers(broker, ADA)
    assert [context for context, _ in seen] == [{"user": "ada", "by": "ada"}]


async def test_a_message_that_a_handler_publishes_carries_what_is_active_there() -> None:
    broker = in_memory_rabbit()
    seen = contexts_received(broker, "results")
    publisher = broker.publisher("results")

    @broker.subscriber("orders")
    async def handler(body: str) -> None:
        await publisher.publish(body)
        with scope(step="pay"):
            await broker.publish(body, "results")

    async with TestRabbitBroker(broker):
        await deliver_headers(broker, ADA)
    assert [context for context, _ in seen] == [{"user": "ada"}, {"user": "ada", "step": "pay"}]


async def test_the_results_of_one_handler_are_handled_apart_from_each_other() -> None:
    broker = in_memory_rabbit()
    seen: list[tuple[str, str]] = []

    @broker.subscriber("orders")
    @broker.publisher("first")
    @broker.publisher("second")
    async def handler(body: str) -> str:
        return body

    @broker.subscriber("first")
    @broker.subscriber("second")
    async def on_result(body: str) -> None:
        seen.append((current()["user"], other.get()))
        other.set("inside")
        bind(user="bound")

    async with TestRabbitBroker(broker):
        await deliver_headers(broker, ADA)
    assert seen == [("ada", "outside"), ("ada", "outside")]


async def test_nothing_that_a_handler_sets_reaches_the_next_message() -> None:
    broker = in_memory_rabbit()
    seen: list[tuple[Mapping[str, object], str]] = []

    @broker.subscriber("orders")
    async def handler(body: str) -> None:
        seen.append((current(), other.get()))
        other.set("inside")
        bind(step="pay")

    async with TestRabbitBroker(broker):
        await deliver_headers(broker, ADA)
        await deliver_headers(broker, {})
    assert seen == [({"user": "ada"}, "outside"), ({}, "outside")]


async def test_a_handler_that_raises_leaves_what_was_active() -> None:
    broker = in_memory_rabbit()

    @broker.subscriber("orders")
    async def handler(body: str) -> None:
        other.set("inside")
        raise LookupError(current()["user"])

    async with TestRabbitBroker(broker):
        with pytest.raises(LookupError, match="ada"):
            await deliver_headers(broker, ADA)


async def test_a_handler_that_is_cancelled_leaves_what_was_active() -> None:
    broker = in_memory_rabbit()

    @broker.subscriber("orders")
    async def handler(body: str) -> None:
        await asyncio.Event().wait()

    async with TestRabbitBroker(broker):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await deliver_headers(broker, ADA)


async def test_a_header_that_cannot_be_read_keeps_no_message_from_its_handler() -> None:
    rejections = mqctx.configure(on_rejected=lambda _: None).rejections
    broker = in_memory_rabbit()
    seen = contexts_received(broker)
    async with TestRabbitBroker(broker):
        for header in ("nonsense", 42, b'{"user":"ada"}'):
            await deliver_headers(broker, {"mqctx": header})
    assert [context for context, _ in seen] == [{}, {}, {"user": "ada"}]
    assert rejections == {"malformed": 1, "wrong-type": 1}


async def test_the_headers_given_stay_as_they_are_and_travel_along() -> None:
    broker = in_memory_rabbit()
    seen = contexts_received(broker)
    given: Any = {"own": 1, **ADA}
    publisher = broker.publisher("orders", headers=given)

    @broker.subscriber("source")
    @broker.publisher("orders")
    async def handler(body: str) -> RabbitResponse:
        return RabbitResponse(body, headers=given)

    async with TestRabbitBroker(broker):
        await publish_in_context(broker, {"user": "eve"}, headers=given)
        with Context(user="eve").scope():
            await publisher.publish("42")
        await publish_in_context(broker, {"user": "eve"}, queue="source")
    assert given == {"own": 1, **ADA}
    assert [headers for _, headers in seen] == [{"own": 1, "mqctx": '{"user":"eve"}'}] * 3


async def test_a_stale_context_is_removed_where_nothing_is_active() -> None:
    broker = in_memory_rabbit()
    seen = contexts_received(broker)
    async with TestRabbitBroker(broker):
        await publish_in_context(broker, {}, headers={"own": 1, **ADA})
        await publish_in_context(
            broker, {}, body=aio_pika.Message(b"42", headers={"own": 1, **ADA})
        )
    assert seen == [({}, {"own": 1})] * 2


async def test_a_message_of_aio_pika_is_published_as_a_copy() -> None:
    broker = in_memory_rabbit()
    seen = contexts_received(broker)
    message = aio_pika.Message(
        b"42",
        headers={"own": 1, **ADA},
        content_type="text/plain",
        correlation_id="c-1",
        message_id="m-1",
        timestamp=1_700_000_000,
        priority=3,
        app_id="shop",
    )
    before = message.info()
    async with TestRabbitBroker(broker):
        await publish_in_context(broker, {"user": "eve"}, body=message)
        assert message.info() == before
        await publish_in_context(broker, {}, body=message)
    assert message.headers == {"own": 1, **ADA}
    assert seen == [
        ({"user": "eve"}, {"own": 1, "mqctx": '{"user":"eve"}'}),
        ({}, {"own": 1}),
    ]


async def test_the_copy_of_a_message_differs_in_nothing_but_its_headers() -> None:
    sent: list[Any] = []

    class Recorder(BaseMiddleware[Any, Any]):
        async def publish_scope(self, call_next: Callable[[Any], Awaitable[Any]], cmd: Any) -> Any:
            sent.append(cmd.body)
            return await call_next(cmd)

    broker = in_memory_rabbit(ContextMiddleware, Recorder)
    contexts_received(broker)
    message = aio_pika.Message(
        b"42",
        headers={"own": 1},
        content_type="text/plain",
        content_encoding="utf-8",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        priority=3,
        correlation_id="c-1",
        reply_to="",
        expiration=60,
        message_id="m-1",
        timestamp=1_700_000_000,
        type="order",
        user_id="guest",
        app_id="shop",
    )
    async with TestRabbitBroker(broker):
        await publish_in_context(broker, {"user": "eve"}, body=message)
    (copied,) = sent
    assert copied is not message
    assert copied.info() == message.info() | {"headers": copied.headers}
    assert copied.headers == {"own": 1, "mqctx": '{"user":"eve"}'}


async def test_more_than_the_limit_is_refused_before_anything_is_sent() -> None:
    broker = in_memory_rabbit()
    seen = contexts_received(broker)
    async with TestRabbitBroker(broker):
        with pytest.raises(mqctx.OversizeError, match="'text'"):
            await publish_in_context(broker, {"text": "x" * 5000})
    assert seen == []


async def test_a_result_and_a_reply_are_not_lost_to_a_context_that_does_not_fit() -> None:
    rejections = mqctx.configure(on_rejected=lambda _: None).rejections
    broker = in_memory_rabbit()
    seen = contexts_received(broker, "results")
    replies = contexts_received(broker, "replies")

    @broker.subscriber("orders")
    @broker.publisher("results")
    async def handler(body: str) -> str:
        bind(text="x" * 5000)
        with pytest.raises(mqctx.OversizeError, match="'text'"):
            await broker.publish(body, "results")
        return body

    async with TestRabbitBroker(broker):
        await publish_in_context(broker, {"user": "ada"}, reply_to="replies")
    assert [context for context, _ in (*seen, *replies)] == [{"user": "ada"}] * 2
    assert rejections == {"too-large": 2}


async def test_there_is_nothing_to_restore_where_no_message_came() -> None:
    with undisturbed(), restored(cast("Any", None)):
        assert current() == {}


async def test_a_propagator_of_its_own_injects_and_extracts() -> None:
    narrow = Propagator(send=["user"], accept=["user"])
    mqctx.configure(send=[], accept=[])
    broker = in_memory_rabbit(partial(ContextMiddleware, propagator=narrow))
    seen = contexts_received(broker)
    async with TestRabbitBroker(broker):
        await publish_in_context(broker, {"user": "ada", "tenant": "acme"})
        await deliver_headers(broker, {"mqctx": '{"user":"ada","tenant":"acme"}'})
    assert seen[0] == ({"user": "ada"}, {"mqctx": '{"user":"ada"}'})
    assert seen[1][0] == {"user": "ada"}
    assert narrow.rejections == {"not-accepted": 1}


async def test_the_default_propagator_is_asked_at_the_time_of_the_message() -> None:
    broker = in_memory_rabbit()
    seen = contexts_received(broker)
    async with TestRabbitBroker(broker):
        mqctx.configure(send=["user"])
        await publish_in_context(broker, {"user": "ada", "tenant": "acme"})
    assert [context for context, _ in seen] == [{"user": "ada"}]


async def test_a_filter_a_decoder_and_a_dependency_run_in_the_context_too() -> None:
    broker = in_memory_rabbit()
    seen: list[Context] = []

    async def decoder(message: RabbitMessage) -> str:
        seen.append(current())
        return message.body.decode()

    async def chosen(message: RabbitMessage) -> bool:
        seen.append(current())
        return True

    def active() -> str:
        return str(current()["user"])

    @broker.subscriber("orders", decoder=decoder)(filter=chosen)
    async def handler(body: str, user: Annotated[str, Depends(active)]) -> None:
        seen.append(Context(user=user))

    async with TestRabbitBroker(broker):
        await deliver_headers(broker, ADA)
    assert seen == [{"user": "ada"}] * 3


@pytest.mark.parametrize("publishing", [True, False])
async def test_an_exception_handler_that_comes_after_runs_in_the_context(publishing: bool) -> None:
    errors = ExceptionMiddleware()
    broker = in_memory_rabbit(ContextMiddleware, errors)
    results = contexts_received(broker, "results")
    seen: list[Context] = []

    @cast("Any", errors).add_handler(LookupError, publish=publishing)
    async def on_error(error: LookupError) -> str:
        seen.append(current())
        return "failed"

    @broker.subscriber("orders")
    @broker.publisher("results")
    async def handler(body: str) -> None:
        bind(step="pay")
        raise LookupError

    async with TestRabbitBroker(broker):
        await deliver_headers(broker, ADA)
    assert seen == [{"user": "ada", "step": "pay"}]
    assert [context for context, _ in results] == seen * publishing


@pytest.mark.parametrize("ours_first", [True, False])
async def test_telemetry_works_beside_it_in_either_order(ours_first: bool) -> None:
    telemetry = RabbitTelemetryMiddleware(tracer_provider=TracerProvider())
    both = [ContextMiddleware, telemetry]
    broker = in_memory_rabbit(*(both if ours_first else reversed(both)))
    seen: list[tuple[Context, int, Any]] = []

    @broker.subscriber("orders")
    @broker.publisher("results")
    async def handler(body: str, message: RabbitMessage) -> str:
        note(message)
        return body

    @broker.subscriber("results")
    async def on_result(message: RabbitMessage) -> None:
        note(message)

    def note(message: RabbitMessage) -> None:
        span = trace.get_current_span().get_span_context()
        seen.append((current(), span.trace_id, message.headers.get("traceparent", "")[3:35]))

    async with TestRabbitBroker(broker):
        for user in ("ada", "eve"):
            await publish_in_context(broker, {"user": user})
    users = [context["user"] for context, *_ in seen]
    traces = [f"{trace_id:032x}" for _, trace_id, _ in seen]
    assert users == ["ada", "ada", "eve", "eve"]
    assert traces == [header for *_, header in seen]
    assert traces[0] == traces[1] != traces[2] == traces[3]


async def test_it_can_be_added_to_a_broker_that_is_there_already() -> None:
    broker = in_memory_rabbit(BaseMiddleware)
    broker.add_middleware(ContextMiddleware)
    seen = contexts_received(broker)
    async with TestRabbitBroker(broker):
        await deliver_headers(broker, ADA)
    assert [context for context, _ in seen] == [{"user": "ada"}]


async def test_a_request_leaves_what_was_active() -> None:
    broker = in_memory_rabbit()

    @broker.subscriber("orders")
    async def handler(body: str) -> RabbitResponse:
        return RabbitResponse(current()["user"], headers={"mqctx": '{"user":"eve"}'})

    async with TestRabbitBroker(broker):
        with Context(user="ada").scope(), undisturbed():
            reply: Any = await broker.request("42", "orders")
        assert await reply.decode() == "ada"
        with undisturbed(), restored(reply):
            assert current() == {"user": "eve"}
        with undisturbed(), restored(reply, propagator=Propagator(accept=[])):
            assert current() == {}
