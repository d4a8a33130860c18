"""Traffic of a warehouse: another layout of exchanges, and Celery.

One order comes to four queues: a headers exchange passes it to a fanout exchange (three queues) and
to a topic exchange (a fourth one). One of them is read by aio-pika, which puts each message back
once and then asks for the stock (RPC, answered by pika through the default exchange); one by kombu,
which rejects each message once and gets it back when it has expired; one by pika, which calls a
task of Celery: that is retried once, and then calls another one, every fifth of which is
dead-lettered.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import aio_pika
import celery
import kombu
import pika
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Reject

import mqctx.adapters.aio_pika as on_aio_pika
import mqctx.adapters.celery as on_celery

from .journeys_traffic import Questions, Services

SERVICES = ("web", "pick", "stock", "count", "trail", "notify", "outbox", "tasks", "tasks.dead")
DEAD = "x-dead-letter-exchange", "x-dead-letter-routing-key"


class Warehouse(Services):
    """The services, started and stopped together."""

    def declare(self) -> None:
        """Declare exchanges and queues."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel: Any = connection.channel()
            for name, kind in {
                "intake": "headers", "fan": "fanout", "audit": "topic", "done": "topic",
            }.items():  # fmt: skip
                channel.exchange_declare(name, kind, durable=True)
            for queue, arguments in {
                "pick": {},
                "count": dict(zip(DEAD, ("", "count.retry"), strict=True)),
                "count.retry": {
                    **dict(zip(DEAD, ("", "count"), strict=True)),
                    "x-message-ttl": 100,
                },
                "notify": {},
                "trail": {},
                "stock": {},
                "outbox": {},
                "tasks": dict(zip(DEAD, ("", "tasks.dead"), strict=True)),
                "tasks.dead": {},
            }.items():
                channel.queue_declare(queue, durable=True, arguments=arguments)
            orders = {"x-match": "all", "kind": "order"}
            for exchange in ("fan", "audit"):
                channel.exchange_bind(exchange, "intake", arguments=orders)
            for queue in ("pick", "count", "notify"):
                channel.queue_bind(queue, "fan")
            channel.queue_bind("trail", "audit", "order.#")
            channel.queue_bind("outbox", "done", "#")

    @property
    def endings(self) -> int:
        """How often something ends: noted, picked, counted, both told, and logged or dead."""
        return 6 * self.requests

    def services(self) -> list[Callable[[], None]]:
        """Return what runs, each in a thread."""
        on_pika = [self._stock, self._notify, self._dead, self._outbox]
        return [self._on_loop, self._count, self._trail, *on_pika]

    @contextmanager
    def all_running(self) -> Iterator[None]:
        """Let the worker of Celery run, too."""
        on_celery.instrument()
        app = self._app("tasks")
        self._define_tasks(app)
        with ExitStack() as stack:
            stack.callback(on_celery.uninstrument)
            stack.enter_context(super().all_running())
            start: Any = start_worker
            stack.enter_context(start(app, pool="solo", perform_ping_check=False))
            yield

    async def send(self, channel: Any, number: int) -> None:
        """Send what a request leads to."""
        intake = await channel.get_exchange("intake", ensure=False)
        headers = {**self.truth.root(), "kind": "order"}
        message = aio_pika.Message(b"order %d" % number, headers=headers)
        await on_aio_pika.publish(intake, message, f"order.{number}")

    def _on_loop(self) -> None:
        asyncio.run(self._pick())

    async def _pick(self) -> None:
        async with await aio_pika.connect(self.url_of("pick")) as connection:
            channel: Any = await connection.channel()
            await channel.set_qos(20)
            questions = await Questions.on(channel)

            @on_aio_pika.consume_with_context
            async def on_order(message: Any) -> None:
                handling = self.truth.received(message.headers, "pick")
                if handling.attempt == 1:
                    await message.reject(requeue=True)
                    return
                question = b"in stock? " + message.body
                answer = await questions.ask("stock", question, handling.led_to())
                picked = aio_pika.Message(answer, headers=handling.led_to())
                done = await channel.get_exchange("done", ensure=False)
                await on_aio_pika.publish(done, picked, "picked")
                await message.ack()
                self.finished.release()

            await (await channel.get_queue("pick")).consume(on_order)
            await asyncio.to_thread(self.over.wait)

    def _stock(self) -> None:
        self.answer_by_pika("stock", b"yes: ")

    def _count(self) -> None:
        def on_order(handling: Any, message: Any, producer: Any) -> None:
            if handling.attempt == 1:
                handling.died()
                message.reject()
                return
            route = {"exchange": "done", "routing_key": "counted"}
            headers = handling.led_to()
            self.send_on_by_kombu(producer, b"counted ", message, headers=headers, **route)

        self.consume_by_kombu("count", on_order)

    def _trail(self) -> None:
        def on_order(_handling: Any, message: Any, _producer: Any) -> None:
            message.ack()
            self.finished.release()

        self.consume_by_kombu("trail", on_order)

    def _outbox(self) -> None:
        def on_told(channel: Any, method: Any, properties: Any, _body: bytes) -> None:
            self.truth.received(properties.headers, "outbox")
            channel.basic_ack(method.delivery_tag)
            self.finished.release()

        self.consume_by_pika("outbox", on_told, 5)

    def _notify(self) -> None:
        app = self._app("notify")

        def on_order(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            handling = self.truth.received(properties.headers, "notify")
            app.send_task("mail", (body.decode(),), headers=handling.led_to())
            channel.basic_ack(method.delivery_tag)

        self.consume_by_pika("notify", on_order, 5)
        app.close()

    def _app(self, service: str) -> Any:
        app: Any = celery.Celery(service, broker=self.url_of(service), set_as_current=False)
        app.conf.update(
            task_default_queue="tasks",
            task_create_missing_queues=False,
            task_queues=[cast("Any", kombu.Queue)("tasks", no_declare=True)],
            task_acks_late=True,
            task_ignore_result=True,
            worker_enable_remote_control=False,
            worker_send_task_events=False,
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
        )
        return app

    def _define_tasks(self, app: Any) -> None:
        truth, finished = self.truth, self.finished

        def mail(task: Any, text: str) -> None:
            handling = truth.received(task.request.headers, "tasks")
            if task.request.retries == 0:
                raise task.retry(countdown=0, max_retries=3, headers=handling.led_to())
            app.send_task("log", (text,), headers=handling.led_to())

        def log(task: Any, text: str) -> None:
            handling = truth.received(task.request.headers, "tasks")
            if int(text.rsplit(maxsplit=1)[-1]) % 5 == 0:
                handling.died()
                raise Reject("no paper", requeue=False)
            finished.release()

        # Not shared: another application of these tests has tasks of these names.
        app.task(mail, name="mail", bind=True, shared=False)
        app.task(log, name="log", bind=True, shared=False)

    def _dead(self) -> None:
        def on_dead(channel: Any, method: Any, properties: Any, _body: bytes) -> None:
            self.truth.received(properties.headers, "tasks.dead")
            channel.basic_ack(method.delivery_tag)
            self.finished.release()

        self.consume_by_pika("tasks.dead", on_dead, 5)
