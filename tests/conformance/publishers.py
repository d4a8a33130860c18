"""Who publishes: each client with the adapter's `publish`, and with its own while instrumented."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import aio_pika
import pika

from mqctx import Context
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from tests.conformance import paths_kombu, paths_pika, work_aio_pika
from tests.conformance.model import SECONDS, Client
from tests.integration.clients import kombu_connection, pika_channel

Letter: TypeAlias = tuple[bytes, Context]
"""The body of a message, and the context that it is published in."""

Send: TypeAlias = Callable[..., Any]
"""The adapter's `publish`, or the client's own in the same form."""


class Adapter(Protocol):
    """What the adapters' modules have in common."""

    def instrument(self, target: object = None) -> None:
        """Hook the client library."""
        ...

    def uninstrument(self, target: object = None) -> None:
        """Remove the hooks."""
        ...


ADAPTERS: dict[Client, Adapter] = {
    "aio-pika": aio_pika_adapter,
    "kombu": kombu_adapter,
    "pika": pika_adapter,
}


@contextmanager
def instrumented(client: Client, way: str) -> Iterator[None]:
    """Hook the client library meanwhile, if that is the way."""
    if way != "instrument":
        yield
        return
    ADAPTERS[client].instrument()
    try:
        yield
    finally:
        ADAPTERS[client].uninstrument()


@dataclass(frozen=True, slots=True, eq=False)
class Publisher:
    """A client that publishes, and how the context gets into its messages."""

    client: Client
    way: Literal["publish", "instrument"]
    send: Send
    deliver: Callable[..., None]

    @property
    def id(self) -> str:
        """A name that no other publisher has."""
        return f"{self.client} {self.way}"

    def publish(self, url: str, queue: str, letters: Sequence[Letter], **properties: Any) -> None:
        """Publish each letter in its context, all on one connection."""
        with instrumented(self.client, self.way):
            self.deliver(self.send, url, queue, letters, properties)


def _aio_pika(
    send: Send, url: str, queue: str, letters: Sequence[Letter], properties: dict[str, Any]
) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS), await aio_pika.connect(url) as connection:
            exchange = (await connection.channel()).default_exchange
            for body, context in letters:
                with context.scope():
                    await send(exchange, aio_pika.Message(body, **properties), queue)

    asyncio.run(main())


def _kombu(
    send: Send, url: str, queue: str, letters: Sequence[Letter], properties: dict[str, Any]
) -> None:
    with kombu_connection(url) as connection:
        producer = connection.Producer()
        for body, context in letters:
            with context.scope():
                send(producer, body, routing_key=queue, **properties)


def _pika(
    send: Send, url: str, queue: str, letters: Sequence[Letter], properties: dict[str, Any]
) -> None:
    with pika_channel(url) as channel:
        channel.confirm_delivery()
        given = pika.BasicProperties(**properties) if properties else None
        for body, context in letters:
            with context.scope():
                send(channel, "", queue, body, given, True)


PUBLISHERS = [
    Publisher("aio-pika", "publish", aio_pika_adapter.publish, _aio_pika),
    Publisher("aio-pika", "instrument", work_aio_pika.publish_raw, _aio_pika),
    Publisher("kombu", "publish", kombu_adapter.publish, _kombu),
    Publisher("kombu", "instrument", paths_kombu.publish_raw, _kombu),
    Publisher("pika", "publish", pika_adapter.publish, _pika),
    Publisher("pika", "instrument", paths_pika.publish_raw, _pika),
]
