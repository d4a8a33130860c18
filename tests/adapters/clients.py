"""The three clients behind one face: what a broker would see of a publish, what a handler gets.

`mqctx.testing` makes and records the messages, with headers of any kind, whole and broken. The
recording channels are for tests of the client's own call: its arguments, its frames, what it costs.
"""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol, cast

import aio_pika
import kombu
import pika
import pika.channel
from pika.callback import CallbackManager

import mqctx.adapters.aio_pika
import mqctx.adapters.kombu
import mqctx.adapters.pika
from mqctx import testing
from mqctx.testing import aio_pika_message, pika_delivery, sent

Headers = dict[str, Any]


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
        """Publish on a real channel."""
        channel, *_ = pika_delivery(b"")
        properties = properties_of(headers) if headers is not None else None
        with sent(channel) as records:
            mqctx.adapters.pika.publish(channel, "", "orders", b"42", properties, **options)
        return records[0].headers

    def delivery(self, headers: Headers | None) -> tuple[Any, ...]:
        """Return (channel, method, properties, body)."""
        channel, method, properties, body = pika_delivery(b"42")
        properties.headers = headers
        return channel, method, properties, body

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
    """As much of a channel as a real Exchange needs below it."""

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
        """Publish on a real exchange."""
        orders = exchange(RecordingAiormqChannel())
        message = aio_pika.Message(b"42", headers=headers)
        with sent(orders) as records:
            awaitable = mqctx.adapters.aio_pika.publish(orders, message, "orders", **options)
            assert asyncio.run(cast("Any", awaitable)).delivery_tag == 1
        return records[0].headers

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
    message = aio_pika_message(b"42")
    message.headers = headers or {}
    return message


class KombuClient:
    """kombu."""

    adapter = mqctx.adapters.kombu

    def publish(self, headers: Headers | None = None, **options: Any) -> Headers | None:
        """Publish by a real producer."""
        return self.sent(lambda producer, key: publish_kombu(producer, key, headers, **options))

    def sent(self, publish: Callable[[Any, str], object]) -> Headers:
        """Return the headers of the message that `publish(producer, routing_key)` sends."""
        producer = kombu.Connection("memory://").Producer()
        with sent(producer) as records:
            publish(producer, "orders")
        return records[0].headers

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
    message: Any = testing.kombu_message("42")
    message.headers = headers
    return message


CLIENTS: dict[str, AdapterClient] = {
    "aio-pika": AioPikaClient(),
    "kombu": KombuClient(),
    "pika": PikaClient(),
}
