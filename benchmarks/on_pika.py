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


def message(body: bytes = BODY) -> tuple[Any, ...]:
    """Make what a caller publishes: body and properties."""
    return body, BasicProperties(content_type="text/plain", delivery_mode=1)


def delivery(headers: dict[str, str] | None) -> tuple[Any, ...]:
    """Make the arguments of a callback."""
    method = Basic.Deliver("c", 1, False, "", "orders")
    return None, method, BasicProperties(headers=headers), BODY


def publisher(way: str, channel: Any, key: str = "orders") -> Callable[..., object]:
    """Return what publishes in this way; the channel must be for this way alone."""

    def raw(body: bytes, properties: Any) -> None:
        channel.basic_publish("", key, body, properties)

    def one(body: bytes, properties: Any) -> None:
        properties.headers = ways.one_header()
        channel.basic_publish("", key, body, properties)

    def five(body: bytes, properties: Any) -> None:
        properties.headers = ways.five_headers()
        channel.basic_publish("", key, body, properties)

    def with_mqctx(body: bytes, properties: Any) -> None:
        publish(channel, "", key, body, properties)

    def inject(body: bytes, properties: Any) -> None:
        properties.headers = {}
        propagate.inject(properties.headers)
        channel.basic_publish("", key, body, properties)

    if way in ways.INSTRUMENTED:
        PikaInstrumentor.instrument_channel(channel, tracer_provider=ways.provider(way))
    return ways.chosen(way, raw=raw, one=one, five=five, with_mqctx=with_mqctx, inject=inject)


def handler(way: str, callback: Callable[..., None]) -> Callable[..., None]:
    """Return the callback with the message's context active in this way."""

    def five(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        token = ways.restore(properties.headers)
        try:
            callback(channel, method, properties, body)
        finally:
            ways.reset(token)

    def extract(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        token = context.attach(propagate.extract(properties.headers or {}))
        try:
            callback(channel, method, properties, body)
        finally:
            context.detach(token)

    if way in ways.INSTRUMENTED:
        tracer = trace.get_tracer("pika", None, ways.provider(way))
        return cast("Any", _decorate_callback)(callback, tracer, "c")
    if way in (ways.MQCTX, ways.MQCTX_EACH):
        return consume_with_context(callback)
    return {ways.FIVE: five, ways.OTEL_BY_HAND: extract}.get(way, callback)
