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


def message(body: bytes = BODY) -> tuple[Any, ...]:
    """Make what a caller publishes: a Message."""
    return (Message(body, content_type="text/plain", delivery_mode=1),)


def delivery(headers: dict[str, str] | None) -> tuple[Any, ...]:
    """Make the arguments of a callback."""
    header = ContentHeader(0, len(BODY), Basic.Properties(headers=cast("Any", headers)))
    deliver = Basic.Deliver(consumer_tag="c", delivery_tag=1, exchange="", routing_key="orders")
    return (IncomingMessage(DeliveredMessage(deliver, header, BODY, cast("Any", None))),)


def publisher(way: str, exchange: Any, key: str = "orders") -> Callable[..., Awaitable[object]]:
    """Return what publishes a message in this way to an exchange."""

    def raw(message: Any) -> Any:
        return exchange.publish(message, key)

    def one(message: Any) -> Any:
        message.headers = ways.one_header()
        return exchange.publish(message, key)

    def five(message: Any) -> Any:
        message.headers = ways.five_headers()
        return exchange.publish(message, key)

    def with_mqctx(message: Any) -> Any:
        return publish(exchange, message, key)

    def inject(message: Any) -> Any:
        propagate.inject(message.headers)
        return exchange.publish(message, key)

    if way in ways.INSTRUMENTED:
        decorator = PublishDecorator(_tracer(way), exchange)
        instrumented = cast("Any", decorator).decorate(exchange.publish)
        return lambda message: instrumented(message, key)
    return ways.chosen(way, raw=raw, one=one, five=five, with_mqctx=with_mqctx, inject=inject)


def handler(way: str, callback: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return the `async def` callback with the message's context active in this way."""

    async def five(message: Any) -> None:
        token = ways.restore(message.headers)
        try:
            await callback(message)
        finally:
            ways.reset(token)

    async def extract(message: Any) -> None:
        token = context.attach(propagate.extract(message.headers))
        try:
            await callback(message)
        finally:
            context.detach(token)

    if way in ways.INSTRUMENTED:
        queue = SimpleNamespace(channel=_SilentChannel())
        return cast("Any", CallbackDecorator(_tracer(way), cast("Any", queue))).decorate(callback)
    if way in (ways.MQCTX, ways.MQCTX_EACH):
        return consume_with_context(callback)
    return {ways.FIVE: five, ways.OTEL_BY_HAND: extract}.get(way, callback)


async def quiet(_: object) -> None:
    """Do nothing with a message."""


def _tracer(way: str) -> trace.Tracer:
    return trace.get_tracer("aio-pika", None, ways.provider(way))
