"""dramatiq's RabbitmqBroker on a real broker."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Queue
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, xq_name

from mqctx import Context, bind, current, scope
from mqctx.adapters.dramatiq import ContextMiddleware
from mqctx.inspection import Inspector, Message
from tests.drivers.handling import SECONDS
from tests.drivers.on_pika import pika_channel

from .broker import Broker as RunningBroker
from .dead_letters import ready
from .settling import wait_until


@pytest.fixture
def dramatiq_broker(amqp_url: str, queue_name: str) -> Iterator[RabbitmqBroker]:
    rabbit = RabbitmqBroker(url=amqp_url)
    rabbit.add_middleware(ContextMiddleware())
    rabbit.declare_queue(queue_name, ensure=True)  # else its consumers may come first, and fail
    with scope(user="ambient"):
        yield rabbit
        assert current() == {"user": "ambient"}
    rabbit.close()
    with pika_channel(amqp_url) as channel:
        for name in (dq_name(queue_name), xq_name(queue_name)):
            channel.queue_delete(name)


@contextmanager
def dramatiq_worker(rabbit: RabbitmqBroker) -> Iterator[None]:
    """Run a worker with some threads."""
    worker = dramatiq.Worker(rabbit, worker_timeout=100, worker_threads=3)
    worker.start()
    try:
        yield
    finally:
        worker.stop()


def test_actors_their_retries_and_what_they_send_run_in_the_context_of_the_message(
    dramatiq_broker: RabbitmqBroker, queue_name: str
) -> None:
    seen: Queue[tuple[str, Mapping[str, object]]] = Queue()

    @dramatiq.actor(broker=dramatiq_broker, queue_name=queue_name, min_backoff=1, max_backoff=1)
    def work(name: str) -> None:
        seen.put((name, current()))
        if "failed" not in current():
            bind(failed=True)
            raise LookupError
        after.send(name)

    @dramatiq.actor(broker=dramatiq_broker, queue_name=queue_name)
    def after(name: str) -> None:
        seen.put((f"after {name}", current()))

    names = ["ada", "eve", "nobody"]
    with dramatiq_worker(dramatiq_broker):
        for name in names:
            Context({} if name == "nobody" else {"user": name}).run(work.send, name)
        handled = [seen.get(timeout=SECONDS) for _ in range(3 * len(names))]
    for name in names:
        own: dict[str, Any] = {} if name == "nobody" else {"user": name}
        attempts = [context for of, context in handled if of == name]
        assert attempts == [own, {**own, "failed": True}]
        assert (f"after {name}", {**own, "failed": True}) in handled


def test_a_message_that_is_dead_carries_its_context_among_its_options(
    dramatiq_broker: RabbitmqBroker, queue_name: str, amqp_url: str
) -> None:
    @dramatiq.actor(broker=dramatiq_broker, queue_name=queue_name, max_retries=0)
    def work() -> None:
        done.put(None)
        raise LookupError

    done: Queue[None] = Queue()
    with dramatiq_worker(dramatiq_broker):
        with Context(user="ada").scope():
            work.send()
        done.get(timeout=SECONDS)
    with pika_channel(amqp_url) as channel:
        _, _, body = channel.basic_get(xq_name(queue_name), auto_ack=True)
    assert json.loads(body)["options"]["mqctx"] == '{"user":"ada"}'


def test_a_dead_letter_tells_whose_it_is_and_why(
    dramatiq_broker: RabbitmqBroker, queue_name: str, broker: RunningBroker
) -> None:
    @dramatiq.actor(
        broker=dramatiq_broker, queue_name=queue_name, max_retries=1, min_backoff=1, max_backoff=1
    )
    def bill(order: int) -> None:
        raise LookupError(f"no card of order {order}")

    with dramatiq_worker(dramatiq_broker):
        with scope(tenant="acme"):
            bill.send(7)
        dead = dead_letter_of(broker, xq_name(queue_name))
    assert dead.context["tenant"] == "acme"
    assert dead.failure is not None
    assert (dead.failure["type"], dead.failure["handler"]) == ("LookupError", "bill")
    assert dead.failure["message"] == "no card of order 7"


def dead_letter_of(broker: RunningBroker, queue: str) -> Message:
    """Return the only message of a queue, once it is there."""
    wait_until(lambda: ready(broker, queue) == 1)
    with (
        Inspector(broker.url, management=broker.management) as inspector,
        inspector.look(queue) as look,
    ):
        return next(iter(look))
