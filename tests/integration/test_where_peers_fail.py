"""Cases that break other libraries that carry a context over AMQP, on a real broker."""

import asyncio
import contextvars
from collections.abc import Mapping
from typing import Any, cast

import aio_pika
import kombu
import pytest
from pika.exceptions import UnroutableError

import mqctx
from mqctx import Context, configure, current, scope
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from tests.drivers.clients import CLIENTS, Client
from tests.drivers.on_kombu import kombu_connection
from tests.drivers.on_pika import pika_channel

pytestmark = pytest.mark.usefixtures("ambient")

CONTEXTS: list[dict[str, str]] = [{"user": "ada"}, {}, {"user": "grace"}]


@pytest.fixture(params=CLIENTS)
def driver(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture
def filled_queue(amqp_url: str, queue: str) -> str:
    """A queue with a message of each of CONTEXTS."""
    CLIENTS["pika"].publish(amqp_url, queue, *((context, b"order") for context in CONTEXTS))
    return queue


@pytest.mark.parametrize(
    "raw",
    ["nonsense", "", "[1]", 5, -1, 1.5, True, None, ["a"], {"a": 1}, b"\xff\xfe", 2**40],
    ids=repr,
)
def test_a_header_of_any_type_never_keeps_a_message_from_its_handler(
    driver: Client, amqp_url: str, queue: str, raw: Any
) -> None:
    rejections = configure(on_rejected=lambda _: None).rejections
    seen: list[tuple[bytes, Mapping[str, object]]] = []
    with kombu_connection(amqp_url) as connection:
        connection.Producer().publish(b"order", routing_key=queue, headers={"mqctx": raw})
    driver.consume(amqp_url, queue, 1, lambda body: seen.append((body, current())))
    assert seen == [(b"order", {})]
    assert rejections.total() == 1


def test_an_exception_of_the_client_passes_through_publish_untouched(amqp_url: str) -> None:
    with pika_channel(amqp_url) as channel:
        channel.confirm_delivery()
        with pytest.raises(UnroutableError):
            pika_adapter.publish(channel, "", "no-such-queue", b"order", mandatory=True)


def test_an_exception_of_a_pika_handler_passes_through(amqp_url: str, filled_queue: str) -> None:
    @pika_adapter.consume_with_context
    def fail(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        raise LookupError(current()["user"])

    with pika_channel(amqp_url) as channel:
        channel.basic_consume(filled_queue, fail)
        with pytest.raises(LookupError, match="ada"):
            channel.start_consuming()


def test_pikas_generator_leaves_no_context_behind(amqp_url: str, filled_queue: str) -> None:
    seen: list[Context] = []
    with pika_channel(amqp_url) as channel:
        for method, properties, _ in channel.consume(filled_queue, inactivity_timeout=10):
            with pika_adapter.restored(properties):
                seen.append(current())
            assert current() == {"user": "ambient"}
            channel.basic_ack(method.delivery_tag)
            if len(seen) == len(CONTEXTS):
                break
    assert seen == CONTEXTS


def test_pikas_get_restores_with_and_without_message(amqp_url: str, filled_queue: str) -> None:
    seen: list[Context] = []
    with pika_channel(amqp_url) as channel:
        for _ in range(len(CONTEXTS) + 1):
            _, properties, _ = channel.basic_get(filled_queue, auto_ack=True)
            with pika_adapter.restored(properties):
                seen.append(current())
    assert seen == [*CONTEXTS, {}]


def test_aio_pikas_iterator_restores_each_message(amqp_url: str, filled_queue: str) -> None:
    async def consume() -> list[Context]:
        seen: list[Context] = []
        async with await aio_pika.connect_robust(amqp_url) as connection:
            queue = await (await connection.channel()).get_queue(filled_queue)
            async with queue.iterator(timeout=10) as messages:
                async for message in messages:
                    async with message.process():
                        with aio_pika_adapter.restored(message):
                            await asyncio.sleep(0)
                            seen.append(current())
                    assert current() == {"user": "ambient"}
                    if len(seen) == len(CONTEXTS):
                        return seen
        return seen

    assert asyncio.run(consume()) == CONTEXTS


def test_aio_pikas_get_restores_each_message(amqp_url: str, filled_queue: str) -> None:
    async def consume() -> list[Context]:
        seen: list[Context] = []
        async with await aio_pika.connect(amqp_url) as connection:
            queue = await (await connection.channel()).get_queue(filled_queue)
            for _ in CONTEXTS:
                message = await queue.get(no_ack=True)
                assert message is not None
                with aio_pika_adapter.restored(message):
                    seen.append(current())
        return seen

    assert asyncio.run(consume()) == CONTEXTS


@pytest.mark.filterwarnings("ignore:.*non-coroutine function:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Function .* returned a non awaitable:DeprecationWarning")
def test_a_sync_callback_works_with_aio_pika(amqp_url: str, filled_queue: str) -> None:
    async def consume() -> list[Context]:
        seen: list[Context] = []
        finished = asyncio.Event()

        @aio_pika_adapter.consume_with_context
        def on_order(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            seen.append(current())
            if len(seen) == len(CONTEXTS):
                finished.set()

        async with await aio_pika.connect(amqp_url) as connection:
            queue = await (await connection.channel()).get_queue(filled_queue)
            await queue.consume(cast("Any", on_order), no_ack=True)
            await asyncio.wait_for(finished.wait(), 10)
        return seen

    assert asyncio.run(consume()) == CONTEXTS


def test_kombus_on_message_and_simple_queue_restore_each_message(
    amqp_url: str, filled_queue: str
) -> None:
    seen: list[Context] = []

    @kombu_adapter.consume_with_context
    def on_message(message: Any) -> None:
        seen.append(current())
        got.append(message)

    got: list[Any] = []
    source = kombu.Queue(filled_queue, no_declare=True)
    with kombu_connection(amqp_url) as connection:
        with connection.Consumer(source, on_message=on_message, prefetch_count=1):
            connection.drain_events(timeout=10)
        got[0].ack()
        simple = connection.SimpleQueue(source)
        for _ in CONTEXTS[1:]:
            message = simple.get(timeout=10)
            with kombu_adapter.restored(message):
                seen.append(current())
            message.ack()
        simple.close()
    assert seen == CONTEXTS


def test_nothing_that_a_handler_sets_reaches_the_next_message(
    driver: Client, amqp_url: str, filled_queue: str
) -> None:
    leaked: contextvars.ContextVar[bool] = contextvars.ContextVar("leaked", default=False)
    seen: list[tuple[bool, Mapping[str, object]]] = []

    def leak(_: bytes) -> None:
        seen.append((leaked.get(), current()))
        leaked.set(True)
        mqctx.bind(step="pay")
        scope(forgotten=True).__enter__()

    driver.consume(amqp_url, filled_queue, len(CONTEXTS), leak)
    assert seen == [(False, context) for context in CONTEXTS]
    assert not leaked.get()


def test_an_oversized_context_is_refused_and_the_connection_lives_on(
    amqp_url: str, queue: str
) -> None:
    """Over the frame limit RabbitMQ closes the whole connection, with all of its channels."""
    with pika_channel(amqp_url) as channel, kombu_connection(amqp_url) as connection:
        with scope(basket="x" * 200_000):
            with pytest.raises(mqctx.OversizeError, match="'basket'"):
                pika_adapter.publish(channel, "", queue, b"order")
            with pytest.raises(mqctx.OversizeError, match="'basket'"):
                kombu_adapter.publish(connection.Producer(), b"order", routing_key=queue)
        pika_adapter.publish(channel, "", queue, b"order")
        kombu_adapter.publish(connection.Producer(), b"order", routing_key=queue)

    async def publish() -> None:
        async with await aio_pika.connect(amqp_url) as connection:
            exchange = (await connection.channel()).default_exchange
            message = aio_pika.Message(b"order")
            with scope(basket="x" * 200_000), pytest.raises(mqctx.OversizeError):
                await aio_pika_adapter.publish(exchange, message, queue)
            await aio_pika_adapter.publish(exchange, message, queue)

    asyncio.run(publish())
    seen: list[Context] = []
    CLIENTS["kombu"].consume(amqp_url, queue, 3, lambda _: seen.append(current()))
    assert seen == [{"user": "ambient"}] * 3


def test_a_rejected_message_keeps_its_context_through_a_dead_letter_queue_and_does_not_grow(
    amqp_url: str, queue_name: str
) -> None:
    dead = f"{queue_name}.dead"
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    sizes: set[int] = set()
    with pika_channel(amqp_url) as channel:
        channel.queue_declare(queue_name, arguments=arguments)
        channel.queue_declare(dead)
        with Context(user="ada").scope():
            pika_adapter.publish(channel, "", queue_name, b"order")
        for _ in range(3):
            method, _, _ = await_get(channel, queue_name)
            channel.basic_reject(method.delivery_tag, requeue=False)
            method, properties, body = await_get(channel, dead)
            channel.basic_ack(method.delivery_tag)
            sizes.add(len(properties.headers["mqctx"]))
            with pika_adapter.restored(properties):
                assert current() == {"user": "ada"}
                pika_adapter.publish(channel, "", queue_name, body, properties)
        channel.queue_delete(dead)
    assert len(sizes) == 1


def await_get(channel: Any, queue: str) -> Any:
    """Return the next message of a queue, waiting for it a bounded time."""
    for _ in range(100):
        got = channel.basic_get(queue)
        if got[0] is not None:
            return got
        channel.connection.sleep(0.1)
    raise TimeoutError(queue)
