"""aio-pika: messages that no broker delivered, and publishes that reach none."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from unittest.mock import patch

from aio_pika import Channel, IncomingMessage
from aio_pika.abc import AbstractChannel, AbstractExchange
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError
from pamqp.commands import Basic, Connection
from pamqp.header import ContentHeader
from yarl import URL

from mqctx.adapters._handler import attribute_of
from mqctx.testing._sent import Sent, note_in
from mqctx.testing._settlement import Settlement
from mqctx.testing._wire import check_body, written

TARGETS = (AbstractExchange, AbstractChannel)
_DELIVERY_TAG = 1
_CONSUMER = "mqctx.testing"


class _Copies:
    """The channel of aiormq for copies to a dead-letter exchange, which confirms them."""

    is_closed = False

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note

    async def basic_publish(
        self, body: bytes, *, exchange: str, routing_key: str, properties: Any, **_: Any
    ) -> Basic.Ack:
        arrived = _arrived(properties, len(body)).properties
        self._note(arrived.headers, arrived, attribute_of, body, routing_key, exchange)
        return Basic.Ack(delivery_tag=1)

    async def _read_content(self, *_: Any) -> None:
        """Nothing is returned."""


class _Connection:
    """The connection of aiormq that a message came by, as far as settling it takes one."""

    basic_nack = True
    url = URL("amqp://guest:guest@127.0.0.1/")
    connection_tune = Connection.TuneOk()

    def __init__(self, note: Callable[..., None]) -> None:
        self._copies = _Copies(note)

    async def channel(self, **_: Any) -> _Copies:
        return self._copies


class _Channel:
    """The channel of aiormq that a message is settled on."""

    is_closed = False

    def __init__(self) -> None:
        self.settled: list[Settlement] = []
        self.dead_lettered: list[Sent] = []
        self.connection = _Connection(note_in(self.dead_lettered))
        self.consumers = {_CONSUMER: None}

    async def basic_ack(self, delivery_tag: int, multiple: bool = False, **_: Any) -> None:
        self.settled.append(Settlement("ack", False, multiple, delivery_tag))

    async def basic_nack(
        self, delivery_tag: int, multiple: bool = False, requeue: bool = True, **_: Any
    ) -> None:
        self.settled.append(Settlement("nack", requeue, multiple, delivery_tag))

    async def basic_reject(self, delivery_tag: int, *, requeue: bool = True, **_: Any) -> None:
        self.settled.append(Settlement("reject", requeue, False, delivery_tag))


def aio_pika_message(body: bytes, /, **values: object) -> IncomingMessage:
    """Return a message that brings a context of exactly `values`, in sync tests too.

    Its headers went through the client's own encoder and decoder, and `ack` and the like work:
    `settled(message)` tells of them.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed), or over 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
        OversizeError: the values take more bytes than the default propagator allows.
        ConfigurationError: a value is local, or the default propagator's formats have no place
            for it.
        TypeError: `body` is not bytes.
    """
    check_body(body)
    properties = Basic.Properties()
    properties.headers = written(values, None, properties)
    header = _arrived(properties, len(body))
    delivery = Basic.Deliver(consumer_tag=_CONSUMER, delivery_tag=_DELIVERY_TAG)
    return IncomingMessage(DeliveredMessage(delivery, header, body, cast("Any", _Channel())))


def _arrived(properties: Basic.Properties, body_size: int) -> ContentHeader:
    header = ContentHeader()
    header.unmarshal(ContentHeader(0, body_size, properties).marshal())
    return header


class _Underlay:
    """aiormq's channel for a client that publishes to nobody."""

    def __init__(self, channel: Any, publish: Callable[..., Any]) -> None:
        self._channel = channel
        self.basic_publish = publish

    def __getattr__(self, name: str) -> Any:
        # Everything but a publish is as it ever was.
        async def other(*args: Any, **options: Any) -> Any:
            return await getattr(await self._channel(), name)(*args, **options)

        return other


class _Unopened:
    """The part that is only there in a channel that is open, for one that never was."""

    is_closed = False

    @property
    def channel(self) -> "_Unopened":
        return self

    def __getattr__(self, name: str) -> Any:
        raise ChannelInvalidStateError(f"{name}: the channel was not opened; it only publishes")


@contextmanager
def recorded(target: Any, note: Callable[..., None]) -> Generator[None]:
    """Let the publishes of an exchange or a channel reach `note` instead of a broker."""
    channel: Any = cast("Any", target).channel if isinstance(target, AbstractExchange) else target
    underlay = channel.get_underlay_channel
    count = 0

    async def basic_publish(body: bytes, **publish: Any) -> Any:
        nonlocal count
        name = publish.get("exchange", "")
        # All exchanges of a channel publish through it; only this one is recorded.
        if channel is not target and name != target.name:
            return await (await underlay()).basic_publish(body, **publish)
        properties = _arrived(publish["properties"], len(body)).properties
        note(properties.headers, properties, attribute_of, body, publish["routing_key"], name)
        count += 1
        return Basic.Ack(delivery_tag=count)

    async def get_underlay_channel() -> Any:
        return _Underlay(underlay, basic_publish)

    with ExitStack() as stack:
        stack.enter_context(patch.object(channel, "get_underlay_channel", get_underlay_channel))
        if isinstance(channel, Channel) and not channel.is_initialized:
            stack.enter_context(patch.object(channel, "_channel", _Unopened()))
            default = channel.EXCHANGE_CLASS(channel, "")
            stack.enter_context(patch.object(channel, "default_exchange", default, create=True))
        yield
