"""A broker that is killed while the messages of a thousand failures are dead-lettered."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from pika.exceptions import AMQPError

from tests.drivers.on_pika import pika_channel
from tests.integration.settling import WAYS, Consume

from .docker import Container

MESSAGES = 1_000
WITHIN = 300.0

pytestmark = pytest.mark.full


def declare(url: str, name: str, kind: str) -> None:
    """Declare a queue, an exchange for its dead letters, and fill the queue."""
    arguments = {"x-queue-type": kind}  # a quorum queue with the default delivery limit
    with pika_channel(url) as channel:
        channel.confirm_delivery()
        for queue in (name, f"{name}.dead"):
            channel.queue_declare(queue, durable=True, arguments=arguments)
        channel.exchange_declare(f"{name}.dlx", "fanout", durable=True)
        channel.queue_bind(f"{name}.dead", f"{name}.dlx")
        properties = pika.BasicProperties(delivery_mode=2)
        for number in range(MESSAGES):
            channel.basic_publish("", name, str(number).encode(), properties, True)


def counts(url: str, name: str) -> tuple[int, int]:
    """Return how many messages wait, and how many dead letters; -1 without a broker."""
    try:
        with pika_channel(url) as channel:
            return tuple(
                channel.queue_declare(queue, passive=True).method.message_count
                for queue in (name, f"{name}.dead")
            )
    except (AMQPError, OSError):
        return -1, -1


def consume_on(consume: Consume, url: str, name: str, done: Callable[[], bool]) -> None:
    """Consume, and again after each loss of the connection, until it is done."""

    def handle(body: bytes, _: object) -> None:
        raise ValueError(body.decode())

    while not done():
        try:
            consume(url, name, handle, done, f"{name}.dlx")
        except Exception:
            time.sleep(0.2)  # the broker is down, or only just up


@pytest.mark.parametrize("kind", ["classic", "quorum"])
@pytest.mark.parametrize("way", [way for way in WAYS if not way.endswith("block")])
def test_of_a_thousand_failures_none_is_lost(
    way: str, kind: str, container: Container, record_property: Callable[[str, Any], None]
) -> None:
    name = f"settling-{way.replace(' ', '-')}-{kind}"
    declare(container.url, name, kind)
    end = time.monotonic() + WITHIN
    finished = threading.Event()
    consumer = threading.Thread(
        target=consume_on, args=(WAYS[way], container.url, name, finished.is_set), daemon=True
    )
    consumer.start()
    try:
        await_counts(container.url, name, lambda _, dead: dead >= MESSAGES // 5, end)
        container.kill()
        container.start()
        container.await_broker()
        await_counts(container.url, name, lambda left, dead: left == 0 and dead >= MESSAGES, end)
    finally:
        finished.set()
        consumer.join(WITHIN)
    assert not consumer.is_alive()
    seen = Counter[str]()
    with pika_channel(container.url) as channel:
        # Messages sent, but not yet acknowledged when the consumer ended, are in both.
        seen.update(body.decode() for _, body in taken(channel, name))
        for properties, body in taken(channel, f"{name}.dead"):
            failure = json.loads(properties.headers["mqctx-failure"])
            assert (failure["type"], failure["message"]) == ("ValueError", body.decode())
            assert failure.keys() >= {"handler", "attempt"}
            seen[body.decode()] += 1
    duplicates = seen.total() - len(seen)
    record_property("duplicates", duplicates)
    print(f"{way}, {kind}: {len(seen)} of {MESSAGES}, {duplicates} twice")  # noqa: T201 - for -s
    assert seen.keys() == {str(number) for number in range(MESSAGES)}


def taken(channel: Any, queue: str) -> Iterator[tuple[Any, bytes]]:
    """Take all messages out of a queue."""
    while (found := channel.basic_get(queue, auto_ack=True))[0] is not None:
        yield found[1:]


def await_counts(url: str, name: str, enough: Callable[[int, int], bool], end: float) -> None:
    """Wait until so many messages wait, and so many dead letters."""
    while not enough(*(now := counts(url, name))):
        assert time.monotonic() < end, f"{now[0]} wait, {now[1]} dead letters"
        time.sleep(0.05)
