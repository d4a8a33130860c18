"""One connection of each client with two channels, both of which confirm what is published."""

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeAlias

import aio_pika
import pika
from pika.spec import Basic

from mqctx import Propagator
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from tests.drivers.handling import SECONDS
from tests.drivers.on_kombu import kombu_connection

Headers: TypeAlias = dict[str, Any]


class Confirming(Protocol):
    """A connection with two channels, which publish to a queue."""

    def publish(self, propagator: Propagator, headers: Headers) -> int:
        """Publish through our adapter on the first channel; return the confirmed delivery tag."""
        ...

    def canary(self) -> int:
        """Publish without us on the second channel; return the confirmed delivery tag."""
        ...


class ConfirmingPika:
    """pika, a BlockingConnection."""

    def __init__(self, connection: Any, queue: str) -> None:
        self._queue = queue
        self._tags: list[list[int]] = [[], []]
        self._channels = [self._open(connection, tags) for tags in self._tags]

    def _open(self, connection: Any, tags: list[int]) -> Any:
        channel = connection.channel()
        channel.confirm_delivery()

        def confirmed(frame: Any) -> None:
            tags.append(frame.method.delivery_tag)

        # A BlockingChannel waits for the confirmation, but keeps its tag to itself.
        channel._impl.add_callback(confirmed, [Basic.Ack], one_shot=False)
        return channel

    def publish(self, propagator: Propagator, headers: Headers) -> int:
        """Publish with `mandatory`, so that what reaches no queue is an error."""
        properties = pika.BasicProperties(headers=headers)
        pika_adapter.publish(
            self._channels[0], "", self._queue, b"order", properties, True, propagator=propagator
        )
        return self._tags[0][-1]

    def canary(self) -> int:
        """Publish to the same queue."""
        self._channels[1].basic_publish("", self._queue, b"canary", None, True)
        return self._tags[1][-1]


class ConfirmingKombu:
    """kombu on py-amqp."""

    def __init__(self, connection: Any, queue: str) -> None:
        self._queue = queue
        self._tags: list[list[int]] = [[], []]
        self._producers = [self._open(connection, tags) for tags in self._tags]

    def _open(self, connection: Any, tags: list[int]) -> Any:
        channel = connection.channel()

        def confirmed(tag: int, multiple: bool) -> None:
            tags.append(tag)

        channel.events["basic_ack"].add(confirmed)
        return connection.Producer(channel)

    def publish(self, propagator: Propagator, headers: Headers) -> int:
        """Publish to the default exchange."""
        kombu_adapter.publish(
            *(self._producers[0], b"order"),
            routing_key=self._queue,
            headers=headers,
            propagator=propagator,
        )
        return self._tags[0][-1]

    def canary(self) -> int:
        """Publish to the same queue."""
        self._producers[1].publish(b"canary", routing_key=self._queue)
        return self._tags[1][-1]


class ConfirmingAioPika:
    """aio-pika; its loop runs while something is published."""

    def __init__(self, runner: asyncio.Runner, exchanges: list[Any], queue: str) -> None:
        self._run = runner.run
        self._exchanges = exchanges
        self._queue = queue

    def publish(self, propagator: Propagator, headers: Headers) -> int:
        """Publish to the default exchange."""

        async def publish() -> Any:
            message = aio_pika.Message(b"order", headers=headers)
            return await aio_pika_adapter.publish(
                self._exchanges[0], message, self._queue, timeout=SECONDS, propagator=propagator
            )

        # In the context of the caller: a runner has a copy of its own, of the first call.
        confirmation: Any = self._run(publish(), context=contextvars.copy_context())
        return int(confirmation.delivery_tag)

    def canary(self) -> int:
        """Publish to the same queue."""
        message = aio_pika.Message(b"canary")
        publish = self._exchanges[1].publish(message, self._queue, timeout=SECONDS)
        return int(self._run(publish).delivery_tag)


@contextmanager
def _pika(url: str, queue: str) -> Iterator[Confirming]:
    connection: Any = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield ConfirmingPika(connection, queue)
    finally:
        if connection.is_open:
            connection.close()


@contextmanager
def _kombu(url: str, queue: str) -> Iterator[Confirming]:
    with kombu_connection(url) as connection:
        yield ConfirmingKombu(connection, queue)


@contextmanager
def _aio_pika(url: str, queue: str) -> Iterator[Confirming]:
    async def connect() -> tuple[Any, list[Any]]:
        connection = await aio_pika.connect(url)
        return connection, [(await connection.channel()).default_exchange for _ in range(2)]

    with asyncio.Runner() as runner:
        connection, exchanges = runner.run(connect())
        try:
            yield ConfirmingAioPika(runner, exchanges, queue)
        finally:
            runner.run(connection.close())


CONFIRMING: dict[str, Callable[[str, str], AbstractContextManager[Confirming]]] = {
    "aio-pika": _aio_pika,
    "kombu": _kombu,
    "pika": _pika,
}
