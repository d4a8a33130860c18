"""taskiq's broker for RabbitMQ, which is a package of its own, on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from taskiq import SimpleRetryMiddleware
from taskiq.receiver import Receiver
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

from mqctx import Context, bind, current
from mqctx.adapters.pika import restored
from mqctx.adapters.taskiq import ContextMiddleware
from mqctx.inspection import Inspector
from tests.drivers.dead_letters import Place
from tests.drivers.handling import SECONDS
from tests.drivers.on_pika import pika_channel

pytestmark = pytest.mark.asyncio


@pytest.fixture
def aio_pika_broker(amqp_url: str, queue_name: str) -> Iterator[AioPikaBroker]:
    """Give a broker whose queues and exchange nobody else has."""
    dead, exchange = f"{queue_name}-dead", f"{queue_name}-exchange"
    rabbit = AioPikaBroker(
        amqp_url,
        exchange=Exchange(name=exchange),
        task_queues=[Queue(name=queue_name)],
        dead_letter_queue=Queue(name=dead),
    )
    rabbit.add_middlewares(SimpleRetryMiddleware(), ContextMiddleware())
    yield rabbit
    with pika_channel(amqp_url) as channel:
        channel.queue_delete(dead)
        channel.exchange_delete(exchange)


@asynccontextmanager
async def taskiq_worker(rabbit: AioPikaBroker) -> AsyncIterator[None]:
    """Run a worker as `taskiq worker` does."""
    rabbit.is_worker_process = True
    await rabbit.startup()
    finish = asyncio.Event()
    with ThreadPoolExecutor(2) as pool:
        receiver = Receiver(rabbit, executor=pool, max_async_tasks=10, run_startup=False)
        listening = asyncio.create_task(receiver.listen(finish))
        try:
            async with asyncio.timeout(2 * SECONDS):
                yield
        finally:
            finish.set()
            await listening
            await rabbit.shutdown()


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_task_and_its_retry_run_in_the_context_of_the_message(
    aio_pika_broker: AioPikaBroker, kind: str
) -> None:
    seen: asyncio.Queue[tuple[str, Mapping[str, object]]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def work(name: str) -> None:
        loop.call_soon_threadsafe(seen.put_nowait, (name, current()))
        if "failed" not in current():
            bind(failed=True)
            raise LookupError

    async def work_async(name: str) -> None:
        work(name)

    function: Any = work if kind == "sync" else work_async
    task = aio_pika_broker.register_task(function, "work", retry_on_error=True)
    contexts: dict[str, dict[str, Any]] = {"ada": {"user": "ada"}, "nobody": {}}
    async with taskiq_worker(aio_pika_broker):
        for name, context in contexts.items():
            with Context(context).scope():
                await task.kiq(name)
        handled = [await seen.get() for _ in range(2 * len(contexts))]
    for name, context in contexts.items():
        attempts = [active for of, active in handled if of == name]
        assert attempts == [context, {**context, "failed": True}]


async def sent(rabbit: AioPikaBroker) -> str:
    """Send a task in a context, and return its id."""

    @rabbit.task(task_name="shop:bill")
    async def work() -> None:
        pass

    await rabbit.startup()
    try:
        with Context(user="ada").scope():
            return (await work.kiq()).task_id
    finally:
        await rabbit.shutdown()


async def test_a_message_carries_its_context_where_any_client_finds_it(
    aio_pika_broker: AioPikaBroker, amqp_url: str, queue_name: str
) -> None:
    await sent(aio_pika_broker)
    with pika_channel(amqp_url) as channel:
        _, properties, _ = channel.basic_get(queue_name, auto_ack=True)
        with restored(properties):
            assert current() == {"user": "ada"}


async def test_a_dead_letter_tells_whose_task_it_is(
    aio_pika_broker: AioPikaBroker, amqp_url: str, queue_name: str
) -> None:
    task_id, dead_letters = await sent(aio_pika_broker), f"{queue_name}-dead"
    with pika_channel(amqp_url) as channel:
        method, _, _ = channel.basic_get(queue_name)
        channel.basic_reject(method.delivery_tag, requeue=False)
        Place(channel, queue_name).await_count(dead_letters, 1)
    with Inspector(amqp_url) as inspector, inspector.look(dead_letters, rescue=True) as look:
        (dead,) = look
    assert dead.context == {"user": "ada"}
    assert dead.came_from == queue_name
    assert dead.task == {"task": "shop:bill", "id": task_id}
