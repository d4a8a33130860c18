"""The three clients behind one face: what a broker would see of a publish, what a handler gets.

The client objects are real; only the connection under them is not. What was published is read
after the client's own codec wrote and read it.
"""

import asyncio
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol, cast

import aio_pika
import kombu
import pamqp.commands
import pamqp.header
import pika
import pika.channel
import pika.spec
from aiormq.abc import DeliveredMessage
from pika.callback import CallbackManager

import mqctx.adapters.aio_pika
import mqctx.adapters.kombu
import mqctx.adapters.pika

Headers = dict[str, Any]
_queues = itertools.count()


class AdapterClient(Protocol):
    """One client library, and our adapter for it."""

    @property
    def adapter(self) -> Any:
        """The adapter's module."""
        ...

    def publish(self, headers: Headers | None = None, **options: Any) -> Headers | None:
        """Publish one message through the adapter; return the headers that a consumer gets."""
        ...

    def delivery(self, headers: Headers | None) -> tuple[Any, ...]:
        """Return the arguments with which the client calls a handler."""
        ...

    def restored_from(self, headers: Headers | None) -> Any:
        """Return what `restored` takes, for a message with these headers."""
        ...


class RecordingChannel(pika.channel.Channel):
    """A pika channel whose frames go nowhere."""

    def __init__(self) -> None:
        connection = cast("Any", SimpleNamespace(callbacks=CallbackManager()))
        super().__init__(connection, 1, lambda _: None)
        self._state = self.OPEN
        self.published: list[Any] = []

    def _send_method(self, method: Any, content: Any = None) -> None:
        self.published.append((method, *(content or ())))


class PikaClient:
    """pika."""

    adapter = mqctx.adapters.pika

    def publish(self, headers: Headers | None = None, **options: Any) -> Headers | None:
        """Publish through a real Channel, and encode and decode the properties."""
        channel = RecordingChannel()
        properties = properties_of(headers) if headers is not None else None
        mqctx.adapters.pika.publish(channel, "", "orders", b"42", properties, **options)
        _, sent, _ = channel.published[0]
        return cast("Any", decoded(sent)).headers

    def delivery(self, headers: Headers | None) -> tuple[Any, ...]:
        """Return (channel, method, properties, body)."""
        return RecordingChannel(), pika.spec.Basic.Deliver(), properties_of(headers), b"42"

    def restored_from(self, headers: Headers | None) -> Any:
        """Return the properties."""
        return properties_of(headers)


def properties_of(headers: Headers | None) -> pika.BasicProperties:
    """Make properties that carry these headers."""
    return pika.BasicProperties(headers=headers)


def decoded(properties: pika.BasicProperties) -> pika.BasicProperties:
    """Return properties as they arrive."""
    wire = b"".join(cast("Any", properties).encode())
    return cast("Any", pika.BasicProperties)().decode(wire)


class RecordingAiormqChannel:
    """What a real Exchange asks of the channel below it."""

    is_closed = False

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []

    async def get_underlay_channel(self) -> "RecordingAiormqChannel":
        """Return the channel itself."""
        return self

    async def basic_publish(self, **publish: Any) -> str:
        """Record what was published."""
        self.published.append(publish)
        return "confirmed"


class AioPikaClient:
    """aio-pika."""

    adapter = mqctx.adapters.aio_pika

    def publish(self, headers: Headers | None = None, **options: Any) -> Headers | None:
        """Publish through a real Exchange, and encode and decode the properties."""
        channel = RecordingAiormqChannel()
        message = aio_pika.Message(b"42", headers=headers)
        awaitable = mqctx.adapters.aio_pika.publish(exchange(channel), message, "orders", **options)
        assert asyncio.run(cast("Any", awaitable)) == "confirmed"
        properties = pamqp.commands.Basic.Properties()
        header = pamqp.header.ContentHeader(0, 2, channel.published[0]["properties"]).marshal()
        properties.unmarshal(int.from_bytes(header[12:14]), header[14:])
        return cast("Any", properties).headers

    def delivery(self, headers: Headers | None) -> tuple[Any, ...]:
        """Return (message,)."""
        return (incoming(headers),)

    def restored_from(self, headers: Headers | None) -> Any:
        """Return the message."""
        return incoming(headers)


def exchange(channel: RecordingAiormqChannel) -> aio_pika.Exchange:
    """Make a real Exchange on a channel that only records."""
    return aio_pika.Exchange(cast("Any", channel), "orders")


def incoming(headers: Headers | None) -> aio_pika.IncomingMessage:
    """Make a message as it arrives."""
    header = pamqp.header.ContentHeader(0, 2, pamqp.commands.Basic.Properties(headers=headers))
    delivery = pamqp.commands.Basic.Deliver(consumer_tag="c", delivery_tag=1)
    return aio_pika.IncomingMessage(DeliveredMessage(delivery, header, b"42", cast("Any", None)))


class KombuClient:
    """kombu, through its in-memory transport."""

    adapter = mqctx.adapters.kombu

    def publish(self, headers: Headers | None = None, **options: Any) -> Headers | None:
        """Publish to a queue and get the message from there."""
        return self.sent(lambda producer, key: publish_kombu(producer, key, headers, **options))

    def sent(self, publish: Callable[[Any, str], object]) -> Headers:
        """Return the headers of the message that `publish(producer, routing_key)` sends."""
        name = f"unit-{next(_queues)}"
        with kombu.Connection("memory://") as connection, connection.channel() as channel:
            queue = kombu.Queue(name, channel=channel)
            queue.declare()
            publish(connection.Producer(channel), name)
            message = queue.get(no_ack=True)
            return cast("Any", message).headers

    def delivery(self, headers: Headers | None) -> tuple[Any, ...]:
        """Return (body, message)."""
        return "42", kombu_message(headers)

    def restored_from(self, headers: Headers | None) -> Any:
        """Return the message."""
        return kombu_message(headers)


def publish_kombu(producer: Any, routing_key: str, headers: Headers | None, **options: Any) -> Any:
    """Publish through the adapter, headers by name."""
    given: dict[str, Any] = {} if headers is None else {"headers": headers}
    return mqctx.adapters.kombu.publish(producer, "42", routing_key=routing_key, **given, **options)


def kombu_message(headers: Headers | None) -> Any:
    """Make a message as it arrives."""
    return cast("Any", kombu.Message)(b"42", headers=headers)


CLIENTS: dict[str, AdapterClient] = {
    "aio-pika": AioPikaClient(),
    "kombu": KombuClient(),
    "pika": PikaClient(),
}
