"""Exchanges and queues of a test's own, and messages that died in one of them."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pika

from tests.drivers.on_pika import pika_channel


@dataclass
class Place:
    """A queue `inbox`, bound to `exchange`, whose dead letters go through `dlx` to `dead`."""

    channel: Any
    name: str = field(default_factory=lambda: f"mqctx-test-{uuid4().hex[:12]}")

    @property
    def exchange(self) -> str:
        return f"{self.name}.orders"

    @property
    def inbox(self) -> str:
        return f"{self.name}.in"

    @property
    def other(self) -> str:
        """A queue that is bound as `inbox` is, if it was asked for."""
        return f"{self.name}.other"

    @property
    def dlx(self) -> str:
        return f"{self.name}.dlx"

    @property
    def dead(self) -> str:
        return f"{self.name}.dead"

    def count(self, queue: str) -> int:
        """Return how many messages wait."""
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)

    def await_count(self, queue: str, count: int, seconds: float = 20) -> None:
        """Wait until so many messages are there."""
        end = time.monotonic() + seconds
        while (found := self.count(queue)) != count:
            assert time.monotonic() < end, f"{found} messages in {queue}, not {count}"
            time.sleep(0.01)

    def drain(self, queue: str) -> list[tuple[Any, Any, bytes]]:
        """Take all messages off a queue."""
        taken: list[tuple[Any, Any, bytes]] = []
        while (message := self.channel.basic_get(queue, auto_ack=True))[0] is not None:
            taken.append(message)
        return taken

    def bodies(self, queue: str) -> list[bytes]:
        """Take all messages off a queue, and return their bodies."""
        return [body for _, _, body in self.drain(queue)]

    def publish(
        self, bodies: Sequence[bytes], key: str = "order.new", headers: Any = None, **props: Any
    ) -> None:
        """Publish to `exchange`; the body is the message's id, too."""
        for body in bodies:
            properties = pika.BasicProperties(
                headers=headers or {}, message_id=body.decode(), delivery_mode=2, **props
            )
            self.channel.basic_publish(self.exchange, key, body, properties)

    def reject_all(self, count: int) -> None:
        """Let all of `inbox` die."""
        self.await_count(self.inbox, count)
        for method, _, _ in self.channel.consume(self.inbox, inactivity_timeout=20):
            assert method is not None
            count -= 1
            # Some at a time: a quorum queue gives a consumer only so many.
            if count % 100 == 0:
                self.channel.basic_nack(method.delivery_tag, multiple=True, requeue=False)
            if not count:
                break
        self.channel.cancel()

    def kill(self, bodies: Sequence[bytes], **publish: Any) -> None:
        """Publish messages, and let them die."""
        before = self.count(self.dead)
        self.publish(bodies, **publish)
        self.reject_all(len(bodies))
        self.await_count(self.dead, before + len(bodies))


BINDINGS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "direct": ("order.new", None),
    "topic": ("order.*", None),
    "fanout": ("", None),
    "headers": ("", {"x-match": "all", "kind": "order"}),
}


@contextmanager
def place(
    url: str,
    *,
    exchange: str = "topic",
    dlx: str = "direct",
    dead_letter_key: str | None = "dead",
    other: bool = False,
    inbox: dict[str, Any] | None = None,
    dead: dict[str, Any] | None = None,
) -> Generator[Place]:
    """Make a place, and delete it afterwards."""
    with pika_channel(url) as channel:
        made = Place(channel)
        arguments = {"x-dead-letter-exchange": made.dlx, **(inbox or {})}
        if dead_letter_key is not None:
            arguments["x-dead-letter-routing-key"] = dead_letter_key
        channel.exchange_declare(made.exchange, exchange, durable=True)
        channel.exchange_declare(made.dlx, dlx, durable=True)
        channel.queue_declare(made.inbox, durable=True, arguments=arguments)
        channel.queue_declare(made.dead, durable=True, arguments=dead or {})
        key, matched = BINDINGS[exchange]
        channel.queue_bind(made.inbox, made.exchange, key, matched)
        if other:
            channel.queue_declare(made.other, durable=True)
            channel.queue_bind(made.other, made.exchange, key, matched)
        key, matched = BINDINGS[dlx]
        channel.queue_bind(made.dead, made.dlx, dead_letter_key or key, matched)
        try:
            yield made
        finally:
            _delete(url, made)


def _delete(url: str, made: Place) -> None:
    with pika_channel(url) as channel:  # the test may have closed the other
        for queue in (made.inbox, made.dead, made.other):
            channel.queue_delete(queue)
        for exchange in (made.exchange, made.dlx):
            channel.exchange_delete(exchange)
