"""A consumer of aio-pika, watched through its recoveries."""

import asyncio
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection

from mqctx import Context, JsonFormat, current
from mqctx.adapters.aio_pika import consume_with_context
from mqctx.formats import JSONValue, Report
from tests.drivers.clients import CLIENTS
from tests.drivers.flow import FLOW_SECONDS
from tests.drivers.handling import context_of
from tests.drivers.on_pika import pika_channel


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the handler."""

    delivery: tuple[object, object]
    number: int
    context: Context
    depth: int


class ReadCountingFormat(JsonFormat):
    """The default format, which counts how often a context is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def decode(
        self, headers: Mapping[str, Any], max_bytes: int, report: Report
    ) -> Mapping[str, JSONValue]:
        """Count, and decode as the default format does."""
        self.reads += 1
        return super().decode(headers, max_bytes, report)


@dataclass(frozen=True, slots=True)
class Watched:
    """A consumer that was started once, and each run of its handler."""

    queue: str
    runs: list[Run] = field(default_factory=list[Run])
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def consume(self, connection: AbstractRobustConnection, *, decorated: bool) -> None:
        """Start the consumer."""
        channel = await connection.channel()
        queue = await channel.declare_queue(self.queue, durable=True)
        handler = self._on_message
        await queue.consume(consume_with_context(handler) if decorated else handler)

    async def see(self, numbers: Iterable[int]) -> None:
        """Wait until each of the messages was handled."""
        missing = set(numbers)
        while missing := missing - {run.number for run in self.runs}:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), FLOW_SECONDS)

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        await asyncio.sleep(0)
        delivery = (message.channel, message.delivery_tag)
        depth = sum(1 for _ in traceback.walk_stack(None))
        self.runs.append(Run(delivery, int(message.body), current(), depth))
        await message.ack()
        self._news.set()


def publish_numbers(url: str, queue: str, numbers: Iterable[int]) -> None:
    """Publish messages through another connection, each in its context."""
    orders = ((context_of(number), str(number).encode()) for number in numbers)
    CLIENTS["pika"].publish(url, queue, *orders)


def delete_and_declare(url: str, queue: str) -> None:
    """Make the broker cancel the consumers of a queue, which is there again afterwards."""
    with pika_channel(url) as channel:
        assert channel.queue_declare(queue, passive=True).method.consumer_count > 0
        channel.queue_delete(queue)
        channel.queue_declare(queue, durable=True)
