"""Traffic of a shop's services, and the truth of it: what each message came from.

Three clients, each service on connections of its own: orders are billed (pika), billed ones go to
three queues (topic exchange), of which one is read by kombu, one by aio-pika that rejects each
message once and gets it back from a retry queue, and one that dead-letters all; shipping, on
aio-pika, asks for a quote (RPC to pika), and sends on.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, cast

import aio_pika
import kombu
import msgspec
import pika

import mqctx
import mqctx.adapters.aio_pika as on_aio_pika
import mqctx.adapters.kombu as on_kombu
import mqctx.adapters.pika as on_pika
from mqctx.formats import start_trace

TRUTH = "truth"
SERVICES = ("web", "orders", "quotes", "dead", "mail", "shipping", "ledger", "stats")
Headers = dict[str, Any]


class Truth:
    """Each message has a number in a header; which one it came from is kept here, not sent."""

    def __init__(self) -> None:
        self.parents: dict[int, tuple[int, str, int] | None] = {}
        """The number of the message, the queue and the attempt, None for a root."""
        self.deaths: dict[tuple[int, str], int] = {}
        self._numbers = count(1)
        self._attempts: dict[tuple[int, str], int] = {}
        self._lock = threading.Lock()

    def root(self) -> Headers:
        """Return headers for a message that nothing led to."""
        return self._new(None)

    def received(self, headers: Headers, queue: str) -> "Handling":
        """Note a delivery."""
        number = int(headers[TRUTH])
        with self._lock:
            attempt = self._attempts.get((number, queue), 0) + 1
            self._attempts[number, queue] = attempt
        return Handling(self, (number, queue, attempt))

    def _new(self, parent: tuple[int, str, int] | None) -> Headers:
        with self._lock:
            number = next(self._numbers)
            self.parents[number] = parent
        return {TRUTH: number}


class Handling:
    """A delivery that is being handled."""

    def __init__(self, truth: Truth, delivery: tuple[int, str, int]) -> None:
        self._truth = truth
        self._delivery = delivery
        self.attempt = delivery[2]

    def led_to(self) -> Headers:
        """Return headers for a message that is published in its handler."""
        return self._truth._new(self._delivery)

    def died(self) -> None:
        """Note that it is rejected."""
        number, queue, _ = self._delivery
        self._truth.deaths[number, queue] = self._truth.deaths.get((number, queue), 0) + 1


class Questions:
    """Questions to other services: each waits for its own answer."""

    def __init__(self, channel: Any, replies: Any) -> None:
        self._channel = channel
        self._replies = replies
        self._answers: dict[str, asyncio.Future[bytes]] = {}
        self._numbers = count(1)

    @classmethod
    async def on(cls, channel: Any) -> "Questions":
        """Return some that are asked, and answered, through a channel."""
        questions = cls(channel, await channel.declare_queue(exclusive=True))
        await questions._replies.consume(questions._take, no_ack=True)
        return questions

    async def ask(self, queue: str, question: bytes, headers: Headers) -> bytes:
        """Return what the service that consumes from `queue` answers."""
        name = f"c-{next(self._numbers)}"
        self._answers[name] = answer = asyncio.get_running_loop().create_future()
        message = aio_pika.Message(
            question, headers=headers, correlation_id=name, reply_to=self._replies.name
        )
        await on_aio_pika.publish(self._channel.default_exchange, message, queue)
        return await answer

    async def _take(self, message: Any) -> None:
        self._answers.pop(message.correlation_id).set_result(message.body)


class Services:
    """A layout of services, which are started and stopped together."""

    def __init__(
        self,
        url: str,
        requests: int,
        *,
        with_spans: bool,
        url_of: Callable[[str], str] | None = None,
    ) -> None:
        self.url = url
        self.url_of = url_of or (lambda _service: url)
        self.requests = requests
        self.with_spans = with_spans
        self.truth = Truth()
        self.finished = threading.Semaphore(0)
        self.over = threading.Event()

    @property
    def endings(self) -> int:
        """How often something ends."""
        raise NotImplementedError

    def declare(self) -> None:
        """Declare exchanges and queues."""
        raise NotImplementedError

    def services(self) -> list[Callable[[], None]]:
        """Return what runs, each in a thread."""
        raise NotImplementedError

    async def send(self, channel: Any, number: int) -> None:
        """Send what a request leads to."""
        raise NotImplementedError

    def run(self) -> None:
        """Send the requests, and return when all that they lead to is done."""
        with self.all_running():
            time.sleep(0.5)  # until all consume
            asyncio.run(self._web())
            for _ in range(self.endings):
                assert self.finished.acquire(timeout=60), "the traffic did not end"
            time.sleep(0.3)

    @contextmanager
    def all_running(self) -> Iterator[None]:
        """Let all services run."""
        threads = [threading.Thread(target=each, daemon=True) for each in self.services()]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join(20)

    async def _web(self) -> None:
        """Send all requests at the same time."""
        async with await aio_pika.connect(self.url_of("web")) as connection:
            channel = await connection.channel()
            await asyncio.gather(*(self._request(channel, n) for n in range(self.requests)))

    async def _request(self, channel: Any, number: int) -> None:
        values: dict[str, object] = {"request_id": f"r-{number}", "tenant": f"t-{number % 7}"}
        if self.with_spans:
            values |= start_trace()
        with mqctx.scope(values):
            await asyncio.sleep(number * 0.002)
            await self.send(channel, number)

    def consume_by_pika(self, queue: str, handler: Any, prefetch: int) -> None:
        """Consume until all is over."""
        connection: Any = pika.BlockingConnection(pika.URLParameters(self.url_of(queue)))
        channel = connection.channel()
        channel.basic_qos(prefetch_count=prefetch)
        channel.basic_consume(queue, on_pika.consume_with_context(handler))
        while not self.over.is_set():
            connection.process_data_events(0.1)
        connection.close()

    def send_on_by_kombu(self, producer: Any, text: bytes, message: Any, **options: Any) -> None:
        """Publish this text, and the message, which was handled with it."""
        on_kombu.publish(
            producer,
            text + bytes(message.body),
            content_type="application/data",
            content_encoding="binary",
            **options,
        )
        message.ack()
        self.finished.release()

    def answer_by_pika(self, queue: str, answer: bytes) -> None:
        """Answer each question with this text, and the question."""

        def on_question(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            handling = self.truth.received(properties.headers, queue)
            answered = pika.BasicProperties(
                headers=handling.led_to(), correlation_id=properties.correlation_id
            )
            on_pika.publish(channel, "", properties.reply_to, answer + body, answered)
            channel.basic_ack(method.delivery_tag)

        self.consume_by_pika(queue, on_question, 5)

    def consume_by_kombu(self, name: str, handler: Callable[[Handling, Any, Any], None]) -> None:
        """Consume on one connection, and give the handler a producer on another one."""
        connect = cast("Any", kombu.Connection)
        url = self.url_of(name)
        with connect(url) as connection, connect(url) as sending:
            producer = cast("Any", kombu.Producer)(sending.channel())

            @on_kombu.consume_with_context
            def on_message(_body: Any, message: Any) -> None:
                handler(self.truth.received(message.headers, name), message, producer)

            queue = cast("Any", kombu.Queue)(name, no_declare=True)
            with connection.Consumer(
                [queue], callbacks=[on_message], accept=None, prefetch_count=10
            ):
                while not self.over.is_set():
                    with suppress(TimeoutError):
                        connection.drain_events(timeout=0.1)


class Shop(Services):
    """The services of a shop."""

    @property
    def endings(self) -> int:
        """How often something ends: shipped, mailed, kept, and dead."""
        return 4 * (self.requests + -(-self.requests // 10))

    def services(self) -> list[Callable[[], None]]:
        """Return what runs, each in a thread."""
        return [self._billing, self._quotes, self._mail, self._on_loop, self._dead]

    def declare(self) -> None:
        """Declare exchanges and queues."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel: Any = connection.channel()
            channel.exchange_declare("events", "topic", durable=True)
            to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
            to_retry = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "ledger.retry"}
            back = {
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "ledger",
                "x-message-ttl": 100,
            }
            arguments: dict[str, dict[str, Any]] = {
                "ledger": to_retry,
                "ledger.retry": back,
                "stats": to_dead,
            }
            for queue in (
                *("orders", "quotes", "shipping", "mail", "ledger", "ledger.retry"),
                *("stats", "dead", "outbox"),
            ):
                channel.queue_declare(queue, durable=True, arguments=arguments.get(queue))
            for queue in ("mail", "ledger", "stats"):
                channel.queue_bind(queue, "events", "order.*")

    async def send(self, channel: Any, number: int) -> None:
        """Send an order, or two."""
        for item in range(2 if number % 10 == 0 else 1):
            message = aio_pika.Message(b"order %d %d" % (number, item), headers=self.truth.root())
            await on_aio_pika.publish(channel.default_exchange, message, "orders")

    def _billing(self) -> None:
        def on_order(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            handling = self.truth.received(properties.headers, "orders")
            sent = pika.BasicProperties(headers=handling.led_to())
            on_pika.publish(channel, "events", "order.billed", b"billed " + body, sent)
            sent = pika.BasicProperties(headers=handling.led_to())
            on_pika.publish(channel, "", "shipping", b"to ship " + body, sent)
            channel.basic_ack(method.delivery_tag)

        self.consume_by_pika("orders", on_order, 20)

    def _quotes(self) -> None:
        self.answer_by_pika("quotes", b"price of ")

    def _dead(self) -> None:
        def on_dead(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            self.truth.received(properties.headers, "dead")
            channel.basic_ack(method.delivery_tag)
            self.finished.release()

        self.consume_by_pika("dead", on_dead, 5)

    def _mail(self) -> None:
        def on_mail(handling: Handling, message: Any, producer: Any) -> None:
            sent = {"headers": handling.led_to(), "routing_key": "outbox"}
            self.send_on_by_kombu(producer, b"mail about ", message, **sent)

        self.consume_by_kombu("mail", on_mail)

    def _on_loop(self) -> None:
        asyncio.run(self._aio_pika_services())

    async def _aio_pika_services(self) -> None:
        async with (
            await aio_pika.connect(self.url_of("shipping")) as shipping,
            await aio_pika.connect(self.url_of("ledger")) as ledger,
            await aio_pika.connect(self.url_of("stats")) as stats,
        ):
            await self._ship(await shipping.channel())
            await self._keep_ledger(await ledger.channel())
            await self._count(await stats.channel())
            await asyncio.to_thread(self.over.wait)

    async def _ship(self, channel: Any) -> None:
        await channel.set_qos(20)
        questions = await Questions.on(channel)

        @on_aio_pika.consume_with_context
        async def on_parcel(message: Any) -> None:
            handling = self.truth.received(message.headers, "shipping")
            question = b"quote for " + message.body
            price = await questions.ask("quotes", question, handling.led_to())
            told = aio_pika.Message(b"shipped at " + price, headers=handling.led_to())
            await on_aio_pika.publish(channel.default_exchange, told, "outbox")
            await message.ack()
            self.finished.release()

        await (await channel.get_queue("shipping")).consume(on_parcel)

    async def _keep_ledger(self, channel: Any) -> None:
        await channel.set_qos(20)

        @on_aio_pika.consume_with_context
        async def on_entry(message: Any) -> None:
            handling = self.truth.received(message.headers, "ledger")
            if handling.attempt == 1:
                handling.died()
                await message.reject(requeue=False)
                return
            kept = aio_pika.Message(b"kept " + message.body, headers=handling.led_to())
            await on_aio_pika.publish(channel.default_exchange, kept, "outbox")
            await message.ack()
            self.finished.release()

        await (await channel.get_queue("ledger")).consume(on_entry)

    async def _count(self, channel: Any) -> None:
        """Dead-letter each message, after it was requeued once."""
        await channel.set_qos(20)

        @on_aio_pika.consume_with_context
        async def on_event(message: Any) -> None:
            handling = self.truth.received(message.headers, "stats")
            if handling.attempt == 1:
                await message.reject(requeue=True)
                return
            noted = aio_pika.Message(b"noted " + message.body, headers=handling.led_to())
            await on_aio_pika.publish(channel.default_exchange, noted, "outbox")
            handling.died()
            await message.reject(requeue=False)

        await (await channel.get_queue("stats")).consume(on_event)


class Verdict(msgspec.Struct):
    """How many edges are as they were."""

    edges: int = 0
    right: int = 0
    inferred: int = 0
    wrong_and_unmarked: list[str] = []


def compare(truth: Truth, records: list[dict[str, Any]]) -> Verdict:
    """Compare the edges of a trace to the truth."""
    verdict = Verdict()
    by_id = {record["id"]: record for record in records}
    for record in records:
        number = record["context"] and _number(record)
        if number is None:
            continue
        is_right = _EDGES[record["kind"]](truth, record, by_id)
        verdict.edges += 1
        verdict.right += is_right
        verdict.inferred += record["inferred"]
        if not is_right and not record["inferred"]:
            verdict.wrong_and_unmarked.append(f"{record} <- {by_id.get(record['parent'])}")
    return verdict


def _number(record: dict[str, Any]) -> int | None:
    number: int | None = record.get("headers", {}).get(TRUTH)
    return number


def _publish(truth: Truth, record: dict[str, Any], by_id: dict[str, Any]) -> bool:
    parent = truth.parents[record["headers"][TRUTH]]
    found = by_id.get(record["parent"])
    if parent is None or found is None or found["kind"] == "publish":
        return parent is None and found is None
    if found["kind"] == "run":
        found = by_id[found["parent"]]
    return parent == (_number(found), found["queue"], found["attempt"])


def _delivery(_truth: Truth, record: dict[str, Any], by_id: dict[str, Any]) -> bool:
    above = by_id.get(record["parent"])
    while above is not None and above["kind"] != "publish":
        above = by_id.get(above["parent"])
    return above is not None and _number(above) == _number(record)


_EDGES = {"publish": _publish, "delivery": _delivery}
