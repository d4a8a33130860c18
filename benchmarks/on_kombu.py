"""kombu: how each way publishes and consumes, and real client objects without a broker."""

from collections.abc import Callable
from typing import Any, cast

from kombu import Consumer, Message, Producer, Queue
from kombu.transport.pyamqp import Channel
from opentelemetry import context, propagate

from benchmarks import ways
from mqctx.adapters.kombu import consume_with_context, publish

BODY = b"x" * 256
# OpenTelemetry has no instrumentation of kombu.
WAYS = tuple(way for way in ways.ACTIVE if way not in (ways.OTEL, ways.OTEL_SDK))


class _SilentChannel(Channel):
    """A channel that makes messages as ever, and sends nothing."""

    def __init__(self) -> None:
        self.events = {"basic_return": set[object]()}

    def basic_publish(self, *args: Any, **options: Any) -> None:
        pass


def channel() -> Producer:
    """Make a real Producer, on a channel that sends nothing."""
    return cast("Any", Producer)(_SilentChannel(), auto_declare=False)


def message(_: object = None) -> None:
    """Make what a caller publishes with: nothing, kombu takes everything by argument."""


def delivery(headers: dict[str, str] | None) -> tuple[Any, ...]:
    """Make the arguments of a handler."""
    return BODY, cast("Any", Message)(BODY, headers=headers or {}, content_type="text/plain")


def publisher(way: str, channel: Any, key: str = "orders") -> Callable[[Any], object]:
    """Return what publishes in this way through a producer."""

    def raw(_: object) -> None:
        channel.publish(BODY, key, delivery_mode=1)

    def one(_: object) -> None:
        channel.publish(BODY, key, delivery_mode=1, headers=ways.one_header())

    def five(_: object) -> None:
        channel.publish(BODY, key, delivery_mode=1, headers=ways.flat_headers())

    def with_mqctx(_: object) -> None:
        publish(channel, BODY, key, delivery_mode=1)

    def inject(_: object) -> None:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        channel.publish(BODY, key, delivery_mode=1, headers=headers)

    by_way = {ways.ONE: one, ways.FIVE: five, ways.MQCTX: with_mqctx, ways.OTEL_BY_HAND: inject}
    return by_way.get(way, raw)


def handler(way: str, handle: Callable[[], object]) -> Callable[..., Any]:
    """Return a Consumer's `receive`, whose callback calls `handle` in the message's context."""

    def raw(body: object, message: Any) -> None:
        handle()

    def five(body: object, message: Any) -> None:
        with ways.restored(message.headers):
            handle()

    def extract(body: object, message: Any) -> None:
        token = context.attach(propagate.extract(message.headers))
        try:
            handle()
        finally:
            context.detach(token)

    by_way = {
        ways.ONE: raw,
        ways.FIVE: five,
        ways.MQCTX: consume_with_context(raw),
        ways.OTEL_BY_HAND: extract,
    }
    queue = cast("Any", Queue)("orders")
    consumer = cast("Any", Consumer)(
        _SilentChannel(), [queue], callbacks=[by_way.get(way, raw)], auto_declare=False
    )
    return cast("Callable[..., Any]", consumer.receive)
