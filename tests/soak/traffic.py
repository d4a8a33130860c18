"""Messages that are published and handled in this process, each in a context of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import kombu

from mqctx import Context, bind, current, scope
from mqctx.adapters.kombu import consume_with_context, publish
from tests.drivers.handling import SECONDS
from tests.drivers.on_kombu import kombu_connection

BATCH = 500
"""How many messages are published before they are handled."""

Pass = Callable[[int], None]
"""Publish and handle so many messages more."""


@contextmanager
def traffic(use: Callable[[Context], object]) -> Iterator[Pass]:
    """Give what passes messages through kombu in memory, each context to `use` in its handler."""
    queue: Any = kombu.Queue(f"mqctx-test-{uuid4().hex}")
    published = handled = 0

    @consume_with_context
    def on_message(body: int, message: Any) -> None:
        nonlocal handled
        assert current() == _values(body)
        bind(step=body)
        use(current())
        message.ack()
        handled += 1

    def pass_messages(count: int) -> None:
        nonlocal published
        for _ in range(0, count, BATCH):
            for number in range(published, published + BATCH):
                with scope(_values(number)):
                    publish(producer, number, routing_key=queue.name)
            published += BATCH
            while handled < published:
                connection.drain_events(timeout=SECONDS)

    with kombu_connection("memory://", confirms=False) as connection:
        producer = connection.Producer()
        with connection.Consumer(queue, callbacks=[on_message]):
            yield pass_messages


def _values(number: int) -> dict[str, object]:
    """Return values, and a name, that no other message has."""
    return {"request_id": f"r-{number}", f"only_{number}": [number, {"number": number}]}
