"""kombu: how each way publishes and consumes, and real client objects without a broker."""

from collections.abc import Callable
from typing import Any, cast

from kombu import Consumer, Message, Producer, Queue
from kombu.transport.pyamqp import Channel
from opentelemetry import context, propagate

from benchmarks import ways
from mqctx.adapters.kombu import consume_with_context, publish

BODY = b"x" * 256


class _SilentChannel(Channel):
    """A channel that makes messages as ever, and sends nothing."""

    def __init__(self) -> None:
        self.events = {"basic_return": set[object]()}

    def basic_publish(self, *args: Any, **options: Any) -> None:
        pass


def channel() -> Producer:
    """Make a real Producer, on a channel that sends nothing."""
    return cast("Any", Producer)(_SilentChannel(), auto_declare=False)


def message(body: bytes = BODY) -> tuple[Any, ...]:
    """Make what a caller publishes: the body."""
    return (body,)


def delivery(headers: dict[str, str] | None) -> tuple[Any, ...]:
    """Make the arguments of a callback."""
    return BODY, cast("Any", Message)(BODY, headers=headers or {}, content_type="text/plain")


def publisher(way: str, producer: Any, key: str = "orders") -> Callable[..., object]:
    """Return what publishes in this way through a producer."""

    def raw(body: bytes) -> None:
        producer.publish(body, key, delivery_mode=1)

    def one(body: bytes) -> None:
        producer.publish(body, key, delivery_mode=1, headers=ways.one_header())

    def five(body: bytes) -> None:
        producer.publish(body, key, delivery_mode=1, headers=ways.five_headers())

    def with_mqctx(body: bytes) -> None:
        publish(producer, body, key, delivery_mode=1)

    def inject(body: bytes) -> None:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        producer.publish(body, key, delivery_mode=1, headers=headers)

    return ways.chosen(way, raw=raw, one=one, five=five, with_mqctx=with_mqctx, inject=inject)


def handler(way: str, callback: Callable[..., None]) -> Callable[..., None]:
    """Return the callback with the message's context active in this way."""

    def five(body: object, message: Any) -> None:
        token = ways.restore(message.headers)
        try:
            callback(body, message)
        finally:
            ways.reset(token)

    def extract(body: object, message: Any) -> None:
        token = context.attach(propagate.extract(message.headers))
        try:
            callback(body, message)
        finally:
            context.detach(token)

    if way in (ways.MQCTX, ways.MQCTX_EACH):
        return consume_with_context(callback)
    return {ways.FIVE: five, ways.OTEL_BY_HAND: extract}.get(way, callback)


def receiver(callback: Callable[..., None]) -> Callable[..., None]:
    """Return the `receive` of a real Consumer with this callback."""
    queue = cast("Any", Queue)("orders")
    consumer = cast("Any", Consumer)(
        _SilentChannel(), [queue], callbacks=[callback], auto_declare=False
    )
    return cast("Callable[..., None]", consumer.receive)
