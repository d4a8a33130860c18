"""A row of own work: a message that FastStream publishes and consumes, in memory."""

from collections.abc import Callable
from typing import Any

from faststream.rabbit import RabbitBroker, TestRabbitBroker
from faststream.rabbit.opentelemetry import RabbitTelemetryMiddleware

from benchmarks import ways
from benchmarks.task import Task, sending
from mqctx.adapters.faststream import ContextMiddleware


def with_faststream(way: str) -> Callable[[], object]:
    """Publish a message with FastStream and let its test broker call the subscriber."""
    known: dict[str, Any] = {
        **dict.fromkeys(ways.OURS, ContextMiddleware),
        ways.OTEL: RabbitTelemetryMiddleware(),
    }
    broker = RabbitBroker(middlewares=[known[way]] if way in known else [])
    # Its middleware of OpenTelemetry restores the span, but no baggage to see it by.
    task = Task(way if way in ways.OURS else ways.RAW)

    async def bill(order: int) -> None:
        task.note()

    broker.subscriber("orders")(bill)
    to_enter = [TestRabbitBroker(broker)]

    async def publish() -> None:
        if to_enter:
            await to_enter.pop().__aenter__()
        await broker.publish(42, "orders")

    return sending(way, task, publish)
