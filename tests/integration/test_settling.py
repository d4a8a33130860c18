"""Messages that mqctx settles: what becomes of each, on a real broker."""

import asyncio
import json
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import aio_pika
import kombu
import pika
import pika.exceptions
import pytest

import mqctx
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from mqctx.adapters.pika import DeadLetter, publish
from tests.drivers.on_pika import pika_channel
from tests.drivers.raw_properties import AsBytes, parts

from .settling import WAYS, Bench, Consume, bench, wait_until

HANDLERS = [name for name in WAYS if not name.endswith("block")]
ADAPTERS: list[Any] = [aio_pika_adapter, kombu_adapter, pika_adapter]
URL = "amqp://orders:hunter2@rabbit/"


@pytest.fixture
def orders(amqp_url: str) -> Iterator[Bench]:
    with bench(amqp_url) as made:
        yield made


@pytest.fixture(params=WAYS)
def consume(request: pytest.FixtureRequest) -> Consume:
    return WAYS[request.param]


@pytest.fixture(params=HANDLERS)
def consume_by_handler(request: pytest.FixtureRequest) -> Consume:
    return WAYS[request.param]


def taken(queue: kombu.Queue) -> kombu.Message:
    """Get the message that is there."""
    message = queue.get()
    assert message is not None
    return message


def fail(body: bytes, ack: object = None) -> None:
    mqctx.bind(step="billing", tenant="acme")
    raise ValueError(f"{body.decode()}: no {URL}")


def failed(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what was logged of failures as an error."""
    records = [each for each in caplog.records if each.name == "mqctx.failures"]
    return [each for each in records if each.levelno == logging.ERROR]


def test_each_message_is_settled_by_what_its_handler_did(
    amqp_url: str, orders: Bench, consume: Consume, caplog: pytest.LogCaptureFixture
) -> None:
    """It returns, raises, acknowledges by itself, raises after that; the consumer goes on."""
    orders.bind()
    seen: list[bytes] = []
    contexts: list[Any] = []

    def handle(body: bytes, ack: Callable[[], Any]) -> Any:
        seen.append(body)
        contexts.append(mqctx.current())
        if body == b"raises":
            fail(body)
        return ack() if body == b"acks" else None

    with mqctx.scope(tenant="acme", request_id="r-1"):
        for body in (b"returns", b"raises", b"acks", b"last"):
            publish(orders.channel, "", orders.queue, body, None, True)

    def done() -> bool:
        return len(seen) == 4 and orders.dead_count() == 1

    consume(amqp_url, orders.queue, handle, done, orders.exchange)
    assert seen == [b"returns", b"raises", b"acks", b"last"]
    assert contexts == [{"tenant": "acme", "request_id": "r-1"}] * 4
    dead = orders.take_dead()
    failure = dead.failure
    assert (dead.body, json.loads(dead.parts.text("mqctx"))["tenant"]) == (b"raises", "acme")
    assert (failure["type"], failure["message"]) == (
        "ValueError",
        "raises: no amqp://orders:***@rabbit/",
    )
    assert failure["handler"] is not None
    assert failure["handler"].endswith(".on_message")
    assert (failure["failures"], failure["attempt"]) == (1, 1)
    assert (failure["exchange"], failure["routing_key"]) == ("", orders.queue)
    assert failure["bound"] == {"step": "billing"}
    assert (orders.left(), orders.dead_count()) == (0, 0)
    told = [str(each.exc_info[1]) for each in failed(caplog) if each.exc_info]
    assert len(told) == 2
    assert "hunter2" in told[0]
    assert "settled its message by itself" in told[1]


FAULTS = {
    "no such exchange": lambda _: None,
    "no right": lambda orders: orders.channel.exchange_declare(
        orders.exchange, "fanout", internal=True
    ),
    "not routed": lambda orders: orders.channel.exchange_declare(orders.exchange, "fanout"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_message_is_held_until_its_copy_can_be_sent(
    amqp_url: str,
    orders: Bench,
    consume: Consume,
    fault: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The consumer goes on meanwhile, and no handler sees the message again."""
    FAULTS[fault](orders)
    orders.publish(b"first", b"second")
    seen: list[bytes] = []

    bound: list[bool] = []

    def handle(body: bytes, _: object) -> None:
        seen.append(body)
        if body == b"first":
            fail(body)

    def done() -> bool:
        if b"second" in seen and "held" in caplog.text and not bound:
            assert (orders.left(), orders.dead_count()) == (0, 0)
            orders.channel.exchange_delete(orders.exchange)
            orders.bind()
            bound.append(True)
        if bound and "block" in str(consume):
            orders.publish(b"more")  # a loop that blocks tries again when a later block ends
        return orders.dead_count() == 1

    consume(amqp_url, orders.queue, handle, done, orders.exchange)
    assert set(seen) - {b"more"} == {b"first", b"second"}
    assert seen.count(b"first") == 1
    assert orders.take_dead().body == b"first"
    assert len(failed(caplog)) == 1


def test_a_message_that_is_held_comes_back_when_its_consumer_ends(
    amqp_url: str, orders: Bench, consume_by_handler: Consume
) -> None:
    orders.publish(b"first")
    seen: list[bytes] = []

    def handle(body: bytes, _: object) -> None:
        seen.append(body)
        fail(body)

    consume_by_handler(amqp_url, orders.queue, handle, lambda: bool(seen), orders.exchange)
    assert orders.take_back().body == b"first"
    assert seen == [b"first"]
    assert (orders.left(), orders.dead_count()) == (0, 0)


def test_a_message_is_rejected_if_asked_where_its_copy_cannot_be_sent(
    amqp_url: str, orders: Bench, consume_by_handler: Consume
) -> None:
    """Its queue has a dead-letter exchange of its own."""
    orders.publish(b"first")
    dead_letter = DeadLetter(orders.exchange, fallback="reject")
    consume_by_handler(amqp_url, orders.queue, fail, lambda: orders.dead_count() == 1, dead_letter)
    dead = orders.take_dead()
    assert (dead.body, b"rejected" in dead.parts.headers["x-death"]) == (b"first", True)
    assert "mqctx-failure" not in dead.parts.headers


def every_type() -> bytes:
    """Return properties with a table of all types, and integers as no client would write them."""
    values = {
        "bool": b"t\1",
        "int8": b"b\xff",
        "uint8": b"B\xff",
        "int16": b"s\xff\xfe",
        "uint16": b"u\xff\xfe",
        "int32": b"I\0\0\0\1",
        "uint32": b"i\xff\0\0\1",
        "int64": b"l\0\0\0\0\0\0\0\1",
        "float": b"f" + struct.pack(">f", 1.5),
        "double": b"d" + struct.pack(">d", 2.5),
        "decimal": b"D\2\0\0\0\x7b",
        "text": b"S\0\0\0\2\xc3\xa9",
        "bytes": b"x\0\0\0\2\xff\xfe",
        "time": b"T\0\0\0\0\x65\x53\xf1\0",
        "nothing": b"V",
        "array": b"A\0\0\0\4t\1b\1",
        "table": b"F\0\0\0\4\1at\1",
    }
    table = b"".join(bytes([len(name)]) + name.encode() + value for name, value in values.items())
    headers = struct.pack(">I", len(table)) + table
    # Content type and encoding, headers, delivery mode, priority, expiration, id, timestamp.
    flags = (
        (1 << 15) | (1 << 14) | (1 << 13) | (1 << 12) | (1 << 11) | (1 << 8) | (1 << 7) | (1 << 6)
    )
    return (
        struct.pack(">H", flags)
        + b"\x10application/data"
        + b"\6binary"
        + headers
        + b"\2\0"
        + b"\x0560000"
        + b"\3m-1"
        + struct.pack(">Q", 1_700_000_000)
    )


def test_a_copy_is_the_message_byte_for_byte(
    amqp_url: str, orders: Bench, consume: Consume
) -> None:
    """All types, a body of several frames; of the properties, only expiration goes."""
    orders.bind()
    before, body = every_type(), b"\0\xff" * 100_000
    orders.publish(body, b"bare", properties=AsBytes(before))
    orders.publish(b"", properties=AsBytes(b"\0\0"))
    consume(
        amqp_url, orders.queue, lambda *_: 1 / 0, lambda: orders.dead_count() == 3, orders.exchange
    )
    dead = orders.take_dead()
    assert dead.body == body
    assert dead.parts.without("mqctx-failure") == parts(before).without("expiration")
    assert orders.take_dead().body == b"bare"
    bare = orders.take_dead()
    assert bare.body == b""
    assert bare.parts.properties == {}
    assert list(bare.parts.headers) == ["mqctx-failure"]


def nested(depth: int) -> bytes:
    """Return tables within tables, as a value of a header."""
    value = b"V"
    for _ in range(depth):
        value = b"F" + struct.pack(">I", len(value) + 2) + b"\1a" + value
    return value


def test_what_the_client_cannot_read_is_handled_and_copied_byte_for_byte(
    amqp_url: str, orders: Bench, consume: Consume
) -> None:
    """Each alone would end the connection of most clients, and come again, for ever."""
    orders.bind()
    values = {
        "milliseconds": b"T" + struct.pack(">Q", 1_700_000_000_000),
        "never": b"T" + struct.pack(">Q", 2**62),
        "deep": nested(700),
        "mqctx": b"S" + struct.pack(">I", 12) + b'{"tenant":1}',
    }
    table = b"".join(bytes([len(name)]) + name.encode() + value for name, value in values.items())
    flags = (1 << 14) | (1 << 13) | (1 << 7) | (1 << 6) | (1 << 5)
    before = struct.pack(">H", flags) + b"\6binary" + struct.pack(">I", len(table)) + table
    before += b"\3m-1" + struct.pack(">Q", 1_700_000_000_000_000) + b"\4kind"
    orders.publish(b"1", b"", properties=AsBytes(before))
    seen: list[Any] = []

    def handle(body: bytes, _: object) -> None:
        seen.append((body, mqctx.current()))
        fail(body)

    consume(amqp_url, orders.queue, handle, lambda: orders.dead_count() == 2, orders.exchange)
    assert seen == [(b"1", {"tenant": 1}), (b"", {"tenant": 1})]
    for body in (b"1", b""):
        dead = orders.take_dead()
        assert dead.body == body
        assert dead.parts.without("mqctx-failure") == parts(before)


def test_a_failure_with_a_text_of_ten_megabytes_stays_within_its_limit(
    amqp_url: str, orders: Bench, consume_by_handler: Consume
) -> None:
    orders.bind()
    orders.publish(b"1")

    def handle(*_: object) -> None:
        raise ValueError(f"{URL} " + "x" * 10_000_000)

    dead_letter = DeadLetter(orders.exchange, traceback=True, queue="orders")
    consume_by_handler(
        amqp_url, orders.queue, handle, lambda: orders.dead_count() == 1, dead_letter
    )
    dead = orders.take_dead()
    text = dead.parts.text("mqctx-failure")
    assert len("mqctx-failure") + len(text) + 6 <= 10_240
    assert "hunter2" not in text
    assert dead.failure["traceback"] is not None
    assert "in handle" in dead.failure["traceback"]
    assert dead.failure["queue"] == "orders"


def test_a_quorum_queue_tells_how_often_it_delivered(amqp_url: str) -> None:
    with bench(amqp_url, **{"x-queue-type": "quorum"}) as orders:
        orders.bind()
        orders.publish(b"1")
        for _ in range(2):
            method, _properties, _body = None, None, None
            while method is None:
                method, _properties, _body = orders.channel.basic_get(orders.queue)
            orders.channel.basic_reject(method.delivery_tag, requeue=True)
        WAYS["pika"](
            amqp_url, orders.queue, fail, lambda: orders.dead_count() == 1, orders.exchange
        )
        assert orders.take_dead().failure["attempt"] == 3


def test_a_second_failure_counts_on(amqp_url: str, orders: Bench) -> None:
    orders.bind()
    orders.publish(b"1")
    for count in (1, 2):
        WAYS["pika"](
            amqp_url, orders.queue, fail, lambda: orders.dead_count() == 1, orders.exchange
        )
        dead = orders.take_dead()
        assert dead.failure["failures"] == count
        orders.publish(dead.body, properties=AsBytes(dead.properties))


def test_no_other_handler_runs_while_a_copy_is_sent(
    amqp_url: str, orders: Bench, consume_by_handler: Consume
) -> None:
    orders.bind()
    orders.publish(*[b"%d" % number for number in range(20)])
    depth = threading.local()
    deepest: list[int] = []

    def handle(body: bytes, _: object) -> None:
        depth.now = getattr(depth, "now", 0) + 1
        deepest.append(depth.now)
        try:
            fail(body)
        finally:
            depth.now -= 1

    consume_by_handler(
        amqp_url, orders.queue, handle, lambda: orders.dead_count() == 20, orders.exchange
    )
    assert deepest == [1] * 20


def fill(orders: Bench) -> None:
    """Let the queue of dead letters refuse what is sent to it."""
    orders.channel.queue_delete(orders.dead)
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    orders.channel.queue_declare(orders.dead, durable=True, arguments=full)
    orders.bind()
    orders.channel.basic_publish("", orders.dead, b"full", None, True)


def test_a_message_is_held_while_the_queue_of_dead_letters_is_full(
    amqp_url: str, orders: Bench, consume_by_handler: Consume
) -> None:
    fill(orders)
    orders.publish(b"1")
    seen: list[bytes] = []

    def handle(body: bytes, _: object) -> None:
        seen.append(body)
        fail(body)

    taken: list[bytes] = []

    def is_dead() -> bool:
        if seen and not taken:
            taken.append(orders.take_dead().body)
        return bool(taken) and orders.dead_count() == 1

    consume_by_handler(amqp_url, orders.queue, handle, is_dead, orders.exchange)
    assert taken == [b"full"]
    assert orders.take_dead().body == b"1"
    assert seen == [b"1"]


def test_instrumented_clients_know_the_queue(
    amqp_url: str, orders: Bench, consume_by_handler: Consume
) -> None:
    orders.bind()
    orders.publish(b"1")
    for adapter in ADAPTERS:
        adapter.instrument()
    try:
        consume_by_handler(
            amqp_url, orders.queue, fail, lambda: orders.dead_count() == 1, orders.exchange
        )
    finally:
        for adapter in ADAPTERS:
            adapter.uninstrument()
    dead = orders.take_dead()
    assert dead.failure["queue"] == orders.queue
    assert "mqctx" not in dead.parts.headers


class TestAConnectionOfOnesOwn:
    """`DeadLetter(connection=...)`."""

    def test_for_pika(self, amqp_url: str, orders: Bench) -> None:
        orders.bind()
        orders.publish(b"1")
        with pika_channel(amqp_url) as own:
            dead_letter = DeadLetter(orders.exchange, connection=own.connection)
            WAYS["pika"](
                amqp_url, orders.queue, fail, lambda: orders.dead_count() == 1, dead_letter
            )
        assert orders.take_dead().body == b"1"

    def test_for_kombu_is_cloned(self, amqp_url: str, orders: Bench) -> None:
        orders.bind()
        orders.publish(b"1", b"2")
        own = kombu.Connection(amqp_url)
        dead_letter = DeadLetter(orders.exchange, connection=own)
        WAYS["kombu"](amqp_url, orders.queue, fail, lambda: orders.dead_count() == 2, dead_letter)
        assert not own.connected

    def test_for_aio_pika(self, amqp_url: str, orders: Bench) -> None:
        orders.bind()
        orders.publish(b"1")

        async def main() -> None:
            async with (
                await aio_pika.connect(amqp_url) as own,
                await aio_pika.connect(amqp_url) as connection,
            ):
                queue = await (await connection.channel()).get_queue(orders.queue)
                message = await queue.get()
                dead_letter = DeadLetter(orders.exchange, connection=own)
                async with aio_pika_adapter.settled(message, dead_letter=dead_letter):
                    fail(b"1")

        asyncio.run(main())
        wait_until(lambda: orders.dead_count() == 1)

    def test_raises_when_the_connection_is_lost_meanwhile(
        self, amqp_url: str, orders: Bench
    ) -> None:
        orders.bind()
        orders.publish(b"1")
        with pika_channel(amqp_url) as channel:
            delivery = channel.basic_get(orders.queue)

            def lose_connection() -> None:
                with pika_adapter.settled(channel, *delivery, dead_letter=orders.exchange):
                    channel.connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
                    fail(b"1")

            with pytest.raises(pika.exceptions.AMQPError):
                lose_connection()
        assert orders.take_back().body == b"1"


class TestKombu:
    def test_opens_its_connection_for_copies_again_where_it_was_lost(
        self, amqp_url: str, orders: Bench
    ) -> None:
        orders.bind()
        orders.publish(b"1", b"2")
        with kombu.Connection(amqp_url) as connection, connection.channel() as channel:
            queue = kombu.Queue(orders.queue, no_declare=True, channel=channel)
            dead_letter = DeadLetter(orders.exchange, fallback="reject")
            for _ in range(2):
                with kombu_adapter.settled(taken(queue), dead_letter=dead_letter):
                    fail(b"x")
                outboxes = vars(channel.connection)["mqctx_Outboxes"]._by_client
                ((_, outbox),) = outboxes.values()
                outbox._channel.connection.transport.sock.shutdown(socket.SHUT_RDWR)
        assert orders.dead_count() == 2
        assert "x-death" not in orders.take_dead().parts.headers

    def test_tells_a_broker_that_is_gone(
        self, amqp_url: str, orders: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        orders.publish(b"1")
        gone = kombu.Connection("amqp://guest:guest@127.0.0.1:1/", connect_timeout=1)
        with kombu.Connection(amqp_url) as connection, connection.channel() as channel:
            queue = kombu.Queue(orders.queue, no_declare=True, channel=channel)
            dead_letter = DeadLetter(orders.exchange, connection=gone)
            with kombu_adapter.settled(taken(queue), dead_letter=dead_letter):
                fail(b"1")
        assert "held" in caplog.text
        assert orders.take_back().body == b"1"

    def test_wakes_in_time_from_waiting_without_end(self, amqp_url: str, orders: Bench) -> None:
        """With no other message to come, `drain_events` tries the copies again."""
        orders.publish(b"1", b"2")
        with kombu.Connection(amqp_url) as connection, connection.channel() as channel:
            queue = kombu.Queue(orders.queue, no_declare=True, channel=channel)
            for _ in range(2):
                with kombu_adapter.settled(taken(queue), dead_letter=orders.exchange):
                    fail(b"x")
            orders.bind()
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.6)
            assert orders.dead_count() == 2
            assert "drain_events" not in vars(channel.connection)
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.01)

    def test_lets_a_message_go_back_whose_channel_its_handler_closed(
        self, amqp_url: str, orders: Bench
    ) -> None:
        orders.bind()
        orders.publish(b"1")
        with kombu.Connection(amqp_url) as connection:
            channel = connection.channel()
            queue = kombu.Queue(orders.queue, no_declare=True, channel=channel)
            with kombu_adapter.settled(taken(queue), dead_letter=orders.exchange):
                channel.close()
                fail(b"1")
        assert orders.take_back().body == b"1"


def test_a_cancelled_handler_of_aio_pika_puts_its_message_back(
    amqp_url: str, orders: Bench
) -> None:
    orders.bind()
    orders.publish(b"1")

    async def main() -> None:
        async with await aio_pika.connect(amqp_url) as connection:
            queue = await (await connection.channel()).get_queue(orders.queue)
            message = await queue.get()

            @aio_pika_adapter.consume_with_context(dead_letter=orders.exchange)
            async def on_message(_: Any) -> None:
                await asyncio.sleep(60)

            task = asyncio.ensure_future(on_message(message))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert orders.take_back().body == b"1"
    assert orders.dead_count() == 0


def test_a_sync_handler_of_aio_pika_is_settled_too(amqp_url: str, orders: Bench) -> None:
    orders.bind()
    orders.publish(b"1")

    async def main() -> None:
        async with await aio_pika.connect(amqp_url) as connection:
            queue = await (await connection.channel()).get_queue(orders.queue)
            handler = aio_pika_adapter.consume_with_context(
                lambda message: fail(message.body), dead_letter=orders.exchange
            )
            message = await queue.get()
            handler(message)
            while not message.processed:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)

    asyncio.run(main())
    assert (orders.left(), orders.dead_count()) == (0, 1)
