"""pika: how each way publishes and consumes, and real client objects without a broker."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from opentelemetry import context, propagate, trace
from opentelemetry.instrumentation.pika import PikaInstrumentor
from opentelemetry.instrumentation.pika.utils import _decorate_callback
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.callback import CallbackManager
from pika.channel import Channel
from pika.spec import Basic

from benchmarks import ways
from mqctx.adapters.pika import consume_with_context, publish

BODY = b"x" * 256
WAYS = tuple(ways.ACTIVE)


class _SilentChannel(Channel):
    """A channel whose frames go nowhere, and are not encoded."""

    def __init__(self) -> None:
        connection = SimpleNamespace(
            callbacks=CallbackManager(), params=SimpleNamespace(host="localhost", port=5672)
        )
        super().__init__(cast("Any", connection), 1, lambda _: None)
        self._state = self.OPEN

    def _send_method(self, method: Any, content: Any = None) -> None:
        pass


def channel() -> BlockingChannel:
    """Make a real BlockingChannel, on a Channel that sends nothing."""
    below = _SilentChannel()
    connection = SimpleNamespace(_impl=below.connection, _flush_output=lambda *_: None)
    return BlockingChannel(below, cast("Any", connection))


def message(_: object = None) -> BasicProperties:
    """Make what a caller publishes with."""
    return BasicProperties(content_type="text/plain", delivery_mode=1)


def delivery(headers: dict[str, str] | None) -> tuple[Any, ...]:
    """Make the arguments of a handler."""
    method = Basic.Deliver("c", 1, False, "", "orders")
    return None, method, BasicProperties(headers=headers), BODY


def publisher(way: str, channel: Any, key: str = "orders") -> Callable[[Any], object]:
    """Return what publishes properties in this way; the channel must be for this way alone."""

    def raw(properties: Any) -> None:
        channel.basic_publish("", key, BODY, properties)

    def one(properties: Any) -> None:
        properties.headers = ways.one_header()
        channel.basic_publish("", key, BODY, properties)

    def five(properties: Any) -> None:
        properties.headers = ways.flat_headers()
        channel.basic_publish("", key, BODY, properties)

    def with_mqctx(properties: Any) -> None:
        publish(channel, "", key, BODY, properties)

    def inject(properties: Any) -> None:
        properties.headers = {}
        propagate.inject(properties.headers)
        channel.basic_publish("", key, BODY, properties)

    if way in (ways.OTEL, ways.OTEL_SDK):
        provider = ways.sdk() if way == ways.OTEL_SDK else None
        PikaInstrumentor.instrument_channel(channel, tracer_provider=provider)
    by_way = {ways.ONE: one, ways.FIVE: five, ways.MQCTX: with_mqctx, ways.OTEL_BY_HAND: inject}
    return by_way.get(way, raw)


def handler(way: str, handle: Callable[[], object]) -> Callable[..., Any]:
    """Return a callback that calls `handle` with the message's context active in this way."""

    def raw(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        handle()

    def five(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        with ways.restored(properties.headers):
            handle()

    def extract(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        token = context.attach(propagate.extract(properties.headers or {}))
        try:
            handle()
        finally:
            context.detach(token)

    if way in (ways.OTEL, ways.OTEL_SDK):
        tracer = trace.get_tracer("pika", None, ways.sdk() if way == ways.OTEL_SDK else None)
        return cast("Any", _decorate_callback)(raw, tracer, "c")
    by_way = {
        ways.ONE: raw,
        ways.FIVE: five,
        ways.MQCTX: consume_with_context(raw),
        ways.OTEL_BY_HAND: extract,
    }
    return by_way.get(way, raw)
