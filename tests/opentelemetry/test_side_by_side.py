"""OpenTelemetry's instrumentations of pika and aio-pika beside ours, on a real RabbitMQ."""

import asyncio
import contextvars
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Protocol

import aio_pika
import pika
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor
from opentelemetry.instrumentation.pika import PikaInstrumentor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import TracerProvider

from mqctx import configure, current, scope
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import pika as pika_adapter
from tests.drivers.handling import SECONDS
from tests.drivers.on_pika import pika_channel
from tests.opentelemetry.messages import CONTEXTS, SeenMessage, SpanPublisher, check_seen


class InstrumentedClient(Protocol):
    """A client, our adapter for it, and OpenTelemetry's instrumentation."""

    adapter: Any
    instrumentor: Any

    def messages(
        self, url: str, queue: str, publisher: SpanPublisher, explicit: bool
    ) -> list[SeenMessage]:
        """Let messages be published and consumed, with the adapter's calls or the client's own."""
        ...


class Pika:
    adapter = pika_adapter
    instrumentor = PikaInstrumentor()

    def messages(
        self, url: str, queue: str, publisher: SpanPublisher, explicit: bool
    ) -> list[SeenMessage]:
        seen: list[SeenMessage] = []

        def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            seen.append(SeenMessage(dict(properties.headers)))
            channel.basic_ack(method.delivery_tag)
            if len(seen) == len(CONTEXTS):
                channel.stop_consuming()

        with pika_channel(url) as channel:
            for headers in publisher:
                message = ("", queue, b"42", pika.BasicProperties(headers=headers))
                if explicit:
                    pika_adapter.publish(channel, *message)
                else:
                    channel.basic_publish(*message)
            channel.connection.call_later(SECONDS, channel.stop_consuming)
            decorate = pika_adapter.consume_with_context if explicit else same
            channel.basic_consume(queue, decorate(on_message))
            channel.start_consuming()
        return seen


class AioPika:
    adapter = aio_pika_adapter
    instrumentor = AioPikaInstrumentor()

    def messages(
        self, url: str, queue: str, publisher: SpanPublisher, explicit: bool
    ) -> list[SeenMessage]:
        return asyncio.run(self._messages(url, queue, publisher, explicit))

    async def _messages(
        self, url: str, queue: str, publisher: SpanPublisher, explicit: bool
    ) -> list[SeenMessage]:
        seen: list[SeenMessage] = []
        finished = asyncio.Event()

        async def on_message(message: Any) -> None:
            await asyncio.sleep(0)
            seen.append(SeenMessage(dict(message.headers)))
            await message.ack()
            if len(seen) == len(CONTEXTS):
                finished.set()

        async with await aio_pika.connect_robust(url) as connection:
            channel = await connection.channel()
            for headers in publisher:
                message = aio_pika.Message(b"42", headers=headers)
                if explicit:
                    await aio_pika_adapter.publish(channel.default_exchange, message, queue)
                else:
                    await channel.default_exchange.publish(message, queue)
            source = await channel.get_queue(queue)
            decorate = aio_pika_adapter.consume_with_context if explicit else same
            await source.consume(decorate(on_message))
            await asyncio.wait_for(finished.wait(), SECONDS)
        return seen


def same(handler: Any) -> Any:
    return handler


CLIENTS: dict[str, Any] = {"pika": Pika(), "aio-pika": AioPika()}


@pytest.fixture(params=CLIENTS)
def instrumented_client(request: pytest.FixtureRequest) -> Iterator[InstrumentedClient]:
    """A client that is as it was afterwards, whatever was instrumented."""
    client = CLIENTS[request.param]
    wrapped = {aio_pika.Exchange: "publish", aio_pika.Queue: "consume"}
    before = {owner: vars(owner)[name] for owner, name in wrapped.items()}
    yield client
    client.adapter.uninstrument()
    if client.instrumentor.is_instrumented_by_opentelemetry:
        client.instrumentor.uninstrument()
    client.adapter.uninstrument()
    # OpenTelemetry removes its wrapper of aio-pika only where that is the outermost.
    for owner, name in wrapped.items():
        setattr(owner, name, before[owner])


def instrument_in_order(client: InstrumentedClient, way: str, provider: TracerProvider) -> None:
    """Instrument in an order; theirs only, where the application calls us, or does not."""
    for each in ordered(client, way):
        if each is client.instrumentor:
            each.instrument(tracer_provider=provider)
        elif way in ("ours first", "theirs first"):
            each.instrument()


def ordered(client: InstrumentedClient, way: str) -> list[Any]:
    both = [client.adapter, client.instrumentor]
    return both[::-1] if way == "theirs first" else both


WAYS = pytest.mark.parametrize("way", ["ours first", "theirs first", "explicit"])


@WAYS
def test_a_handler_has_both_contexts_and_no_header_is_lost(
    instrumented_client: InstrumentedClient,
    way: str,
    either: TracerProvider,
    formats: str,
    amqp_url: str,
    queue: str,
) -> None:
    instrument_in_order(instrumented_client, way, either)
    publisher = SpanPublisher(either)
    with scope(user="ambient"):
        seen = instrumented_client.messages(amqp_url, queue, publisher, way == "explicit")
        assert current() == {"user": "ambient"}
    if way == "explicit":
        assert publisher.headers == [{"kind": "order"}] * len(CONTEXTS)
    for context, span, each in zip(CONTEXTS, publisher.spans, seen, strict=True):
        check_seen(context, span, each, formats)


def test_the_spans_of_a_message_follow_each_other(
    instrumented_client: InstrumentedClient,
    provider: Any,
    exporter: InMemorySpanExporter,
    formats: str,
    amqp_url: str,
    queue: str,
) -> None:
    instrument_in_order(instrumented_client, "ours first", provider)
    publisher = SpanPublisher(provider)
    seen = instrumented_client.messages(amqp_url, queue, publisher, explicit=False)
    parents = {
        span.context.span_id: span.parent.span_id
        for span in exporter.get_finished_spans()
        if span.context and span.parent
    }
    for span, each in zip(publisher.spans, seen, strict=True):
        path = [each.span.span_id]
        while path[-1] in parents:
            path.append(parents[path[-1]])
        assert path[-1] == span.span_id
        assert trace.format_span_id(path[1]) == each.headers["traceparent"].split("-")[2]


@pytest.mark.usefixtures("activated")
@pytest.mark.parametrize("way", ["theirs alone", "ours first", "theirs first", "explicit"])
def test_opentelemetrys_propagation_brings_the_context_with_ours_and_alone(
    instrumented_client: InstrumentedClient,
    way: str,
    provider: TracerProvider,
    amqp_url: str,
    queue: str,
) -> None:
    instrument_in_order(instrumented_client, way, provider)
    publisher = SpanPublisher(provider)
    seen = instrumented_client.messages(amqp_url, queue, publisher, way == "explicit")
    for context, span, each in zip(CONTEXTS, publisher.spans, seen, strict=True):
        check_seen(context, span, each, "json")


@pytest.mark.usefixtures("activated")
@pytest.mark.parametrize("header", ["nonsense", 5, ["a"], {"a": 1}, "[" * 2000, "x" * 5000])
def test_no_header_of_ours_keeps_a_message_from_its_handler(
    instrumented_client: InstrumentedClient,
    header: object,
    provider: TracerProvider,
    amqp_url: str,
    queue: str,
) -> None:
    rejections = configure(on_rejected=lambda _: None).rejections
    instrument_in_order(instrumented_client, "theirs alone", provider)
    publisher = SpanPublisher(provider)
    for headers in publisher.headers:
        headers["mqctx"] = header  # which stays only where no context takes its place
    seen = instrumented_client.messages(amqp_url, queue, publisher, explicit=False)
    assert [each.context for each in seen] == CONTEXTS
    assert rejections.total() == 1


@pytest.mark.parametrize("removed", ["ours first", "theirs first"])
@pytest.mark.parametrize("installed", ["ours first", "theirs first"])
def test_both_can_be_removed_and_installed_again_in_any_order(
    instrumented_client: InstrumentedClient,
    installed: str,
    removed: str,
    provider: Any,
    amqp_url: str,
    queue: str,
) -> None:
    instrument_in_order(instrumented_client, installed, provider)
    for each in ordered(instrumented_client, removed):
        each.uninstrument()
    for each in instrumented_client.messages(
        amqp_url, queue, SpanPublisher(provider), explicit=False
    ):
        assert "mqctx" not in each.headers
    instrument_in_order(instrumented_client, installed, provider)
    publisher = SpanPublisher(provider)
    seen = instrumented_client.messages(amqp_url, queue, publisher, explicit=False)
    for context, span, each in zip(CONTEXTS, publisher.spans, seen, strict=True):
        check_seen(context, span, each, "json")


@pytest.mark.parametrize("instrumented_client", ["pika"], indirect=True)
def test_the_body_of_pikas_generator_has_both_contexts(
    instrumented_client: InstrumentedClient, provider: Any, amqp_url: str, queue: str
) -> None:
    instrument_in_order(instrumented_client, "explicit", provider)
    publisher = SpanPublisher(provider)
    seen: list[SeenMessage] = []

    def consume() -> None:
        with pika_channel(amqp_url) as channel:
            for headers in publisher:
                properties = pika.BasicProperties(headers=headers)
                pika_adapter.publish(channel, "", queue, b"42", properties)
            for _, properties, _ in channel.consume(queue, auto_ack=True):
                with pika_adapter.restored(properties):
                    seen.append(SeenMessage(dict(properties.headers)))
                if len(seen) == len(CONTEXTS):
                    break

    # In a snapshot of its own: OpenTelemetry leaves the last message's trace behind.
    contextvars.copy_context().run(consume)
    for context, span, each in zip(CONTEXTS, publisher.spans, seen, strict=True):
        check_seen(context, span, each, "json")


@WAYS
@pytest.mark.parametrize("instrumented_client", ["aio-pika"], indirect=True)
def test_the_body_of_aio_pikas_iterator_has_our_context(
    instrumented_client: InstrumentedClient, way: str, provider: Any, amqp_url: str, queue: str
) -> None:
    """OpenTelemetry does not reach it: it traces how messages are put into the iterator."""
    instrument_in_order(instrumented_client, way, provider)
    restored: Any = aio_pika_adapter.restored if way == "explicit" else nullcontext
    seen: list[SeenMessage] = []

    async def consume() -> None:
        async with await aio_pika.connect_robust(amqp_url) as connection:
            channel = await connection.channel()
            for headers in SpanPublisher(provider):
                message = aio_pika.Message(b"42", headers=headers)
                await aio_pika_adapter.publish(channel.default_exchange, message, queue)
            source = await channel.get_queue(queue)
            async with source.iterator(timeout=SECONDS, no_ack=True) as messages:
                async for incoming in messages:
                    with restored(incoming):
                        seen.append(SeenMessage(dict(incoming.headers)))
                    if len(seen) == len(CONTEXTS):
                        break

    asyncio.run(consume())
    assert [each.context for each in seen] == CONTEXTS
