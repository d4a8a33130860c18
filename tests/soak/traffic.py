"""Messages that are published and handled in this process, each in a context of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import kombu

from mqctx import Context, bind, current, scope
from mqctx.adapters.kombu import consume_with_context, publish

BATCH = 500
"""How many messages are published before they are handled."""

Pass = Callable[[int], None]
"""Publish and handle so many messages more."""


@contextmanager
def traffic(use: Callable[[Context], object]) -> Iterator[Pass]:
    """Give what passes messages through kombu in memory, each context to `use` in its handler."""
    queue = kombu.Queue(f"mqctx-test-{uuid4().hex}")
    with kombu.Connection("memory://") as connection:
        road = _Road(connection.Producer(), queue.name, use)
        with connection.Consumer(queue, callbacks=[road.on_message]):

            def pass_messages(count: int) -> None:
                for _ in range(0, count, BATCH):
                    road.publish()
                    while road.handled < road.published:
                        connection.drain_events(timeout=60)

            yield pass_messages


class _Road:
    def __init__(self, producer: Any, queue: str, use: Callable[[Context], object]) -> None:
        self.published = 0
        self.handled = 0
        self._producer = producer
        self._queue = queue
        self._use = use

    def publish(self) -> None:
        for number in range(self.published, self.published + BATCH):
            with scope(_values(number)):
                publish(self._producer, number, routing_key=self._queue)
        self.published += BATCH

    @consume_with_context
    def on_message(self, body: int, message: Any) -> None:
        assert current() == _values(body)
        bind(step=body)
        self._use(current())
        message.ack()
        self.handled += 1


def _values(number: int) -> dict[str, object]:
    """Return values, and a name, that no other message has."""
    return {"request_id": f"r-{number}", f"only_{number}": [number, {"number": number}]}
