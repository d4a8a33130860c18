"""aio-pika: how each way publishes and consumes, and real client objects without a broker."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from aio_pika import Exchange, IncomingMessage, Message
from aiormq.abc import DeliveredMessage
from opentelemetry import context, propagate, trace
from opentelemetry.instrumentation.aio_pika.callback_decorator import CallbackDecorator
from opentelemetry.instrumentation.aio_pika.publish_decorator import PublishDecorator
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from yarl import URL

from benchmarks import ways
from mqctx.adapters.aio_pika import consume_with_context, publish

BODY = b"x" * 256
WAYS = tuple(ways.ACTIVE)


class _SilentChannel:
    """What a real Exchange asks of the channel below it; it sends nothing."""

    is_closed = False
    connection = SimpleNamespace(url=URL("amqp://localhost"))
    _connection = connection

    async def get_underlay_channel(self) -> "_SilentChannel":
        return self

    async def basic_publish(self, **publish: Any) -> None:
        pass


def channel() -> Exchange:
    """Make a real Exchange, on a channel that sends nothing."""
    return Exchange(cast("Any", _SilentChannel()), "orders")


def message(_: object = None) -> Message:
    """Make what a caller publishes."""
    return Message(BODY, content_type="text/plain", delivery_mode=1)


def delivery(headers: dict[str, str] | None) -> tuple[Any, ...]:
    """Make the arguments of a handler."""
    header = ContentHeader(0, len(BODY), Basic.Properties(headers=cast("Any", headers)))
    deliver = Basic.Deliver(consumer_tag="c", delivery_tag=1, exchange="", routing_key="orders")
    return (IncomingMessage(DeliveredMessage(deliver, header, BODY, cast("Any", None))),)


def publisher(way: str, channel: Any, key: str = "orders") -> Callable[[Any], Awaitable[object]]:
    """Return what publishes a message in this way to an exchange."""

    def raw(message: Any) -> Any:
        return channel.publish(message, key)

    def one(message: Any) -> Any:
        message.headers = ways.one_header()
        return channel.publish(message, key)

    def five(message: Any) -> Any:
        message.headers = ways.flat_headers()
        return channel.publish(message, key)

    def with_mqctx(message: Any) -> Any:
        return publish(channel, message, key)

    def inject(message: Any) -> Any:
        propagate.inject(message.headers)
        return channel.publish(message, key)

    if way in (ways.OTEL, ways.OTEL_SDK):
        decorator = PublishDecorator(_tracer(way), channel)
        instrumented = cast("Any", decorator).decorate(channel.publish)
        return lambda message: instrumented(message, key)
    by_way = {ways.ONE: one, ways.FIVE: five, ways.MQCTX: with_mqctx, ways.OTEL_BY_HAND: inject}
    return by_way.get(way, raw)


def handler(way: str, handle: Callable[[], object]) -> Callable[..., Any]:
    """Return an `async def` callback that calls `handle` in the message's context."""

    async def raw(message: Any) -> None:
        handle()

    async def five(message: Any) -> None:
        with ways.restored(message.headers):
            handle()

    async def extract(message: Any) -> None:
        token = context.attach(propagate.extract(message.headers))
        try:
            handle()
        finally:
            context.detach(token)

    if way in (ways.OTEL, ways.OTEL_SDK):
        queue = SimpleNamespace(channel=_SilentChannel())
        return cast("Any", CallbackDecorator(_tracer(way), cast("Any", queue))).decorate(raw)
    by_way = {
        ways.ONE: raw,
        ways.FIVE: five,
        ways.MQCTX: consume_with_context(raw),
        ways.OTEL_BY_HAND: extract,
    }
    return by_way.get(way, raw)


def _tracer(way: str) -> trace.Tracer:
    return trace.get_tracer("aio-pika", None, ways.sdk() if way == ways.OTEL_SDK else None)
