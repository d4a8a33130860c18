"""kombu: messages that no broker delivered, and publishes that reach none."""

# kombu and amqp come without types that a strict checker could follow.
# pyright: reportMissingTypeStubs=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import amqp
import kombu.messaging
from amqp import spec
from kombu.entity import Exchange
from kombu.messaging import Producer
from kombu.serialization import dumps
from kombu.transport import pyamqp
from kombu.transport.base import Message, StdChannel

from mqctx.testing._sent import Sent, note_in
from mqctx.testing._settlement import Settlement
from mqctx.testing._wire import written

_message: Any = amqp.Message
TARGETS = (Producer, Exchange, StdChannel, amqp.Channel)
_DELIVERY_TAG = 1
_CONSUMER = "mqctx.testing"


class _Copies:
    """A channel for copies to a dead-letter exchange, which confirms them."""

    connection = SimpleNamespace(frame_max=131_072)

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note
        self.events: dict[str, set[Any]] = {"basic_return": set()}

    def confirm_select(self) -> None:
        """Each copy is confirmed."""

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **_: Any) -> None:
        arrived = _arrived(message).properties
        headers = arrived.get("application_headers")
        self._note(headers, arrived, item_of, message.body, routing_key, exchange)

    def wait(self, *_: Any, callback: Callable[..., None], **__: Any) -> None:
        callback(spec.Basic.Ack)


class _Client:
    """The connection of a message, as far as settling it takes one."""

    transport_options = None
    userid = "guest"

    def __init__(self, note: Callable[..., None]) -> None:
        self._copies = _Copies(note)

    def clone(self, **_: Any) -> "_Client":
        return self

    def channel(self) -> _Copies:
        return self._copies


class _Channel(pyamqp.Channel):
    """A channel whose frames go nowhere; `settled` has those that settle a message."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []
        self.dead_lettered: list[Sent] = []
        connection = SimpleNamespace(
            channels={},
            confirm_publish=False,
            _get_free_channel_id=lambda: 1,
            client=_Client(note_in(self.dead_lettered)),
            collect=lambda: None,
        )
        super().__init__(connection)
        self.is_open = True
        self.callbacks[_CONSUMER] = None

    def send_method(
        self, sig: Any, _format: Any = None, args: Any = None, *_: Any, **__: Any
    ) -> None:
        if sig == spec.Basic.Ack:
            tag, multiple = args
            self.settled.append(Settlement("ack", False, multiple, tag))
        elif sig == spec.Basic.Reject:
            tag, requeue = args
            self.settled.append(Settlement("reject", requeue, False, tag))


def kombu_message(body: Any, /, **values: object) -> Message:
    """Return a message that brings a context of exactly `values`.

    The body is serialized as `Producer.publish` does it without options: text and bytes as they
    are, all else as JSON; `message.payload` has it again. The headers went through py-amqp's
    encoder and decoder, and `ack` and the like work: `settled(message)` tells of them.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed), or over 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
        OversizeError: the values take more bytes than the default propagator allows.
        ConfigurationError: a value is local, or the default propagator's formats have no place
            for it.
    """
    content_type, content_encoding, payload = cast("Any", dumps)(body)
    properties = {"content_type": content_type, "content_encoding": content_encoding}
    headers = written(values, None, properties, set_item, item_of)
    return delivered(payload, headers, properties)


def delivered(payload: Any, headers: Mapping[str, Any], properties: Mapping[str, Any]) -> Message:
    """Return a message as a consumer gets it."""
    arrived = _arrived(_message(payload, application_headers=headers, **properties))
    arrived.body = _as_bytes(payload)
    arrived.delivery_info = {
        "consumer_tag": _CONSUMER,
        "delivery_tag": _DELIVERY_TAG,
        "redelivered": False,
        "exchange": "",
        "routing_key": "",
    }
    return cast("Message", cast("Any", pyamqp).Message(arrived, channel=_Channel()))


def set_item(properties: Any, name: str, text: str) -> None:
    """Set an AMQP property by its name."""
    properties[name] = text


def item_of(properties: Any, name: str) -> object:
    """Return an AMQP property by its name, None if there is none."""
    return properties.get(name)


def _arrived(message: Any) -> Any:
    arrived = _message()
    # Through py-amqp's own encoder and decoder: so a test sees what a broker would hand out.
    arrived._load_properties(arrived.CLASS_ID, message._serialize_properties(), 0)
    return arrived


def _as_bytes(body: Any) -> Any:
    return body.encode() if isinstance(body, str) else body


@contextmanager
def recorded(target: Any, note: Callable[..., None]) -> Generator[None]:
    """Let the publishes of a producer, exchange or channel reach `note` instead of a broker."""

    def take(
        body: Any, headers: Any, properties: Mapping[str, Any], exchange: str, routing_key: str
    ) -> None:
        properties = {name: each for name, each in properties.items() if name in _PROPERTIES}
        arrived = _arrived(_message(application_headers=headers, **properties)).properties
        table = arrived.get("application_headers") or {}
        note(table, arrived, item_of, _as_bytes(body), routing_key, exchange)

    if isinstance(target, Producer):
        with _of_producer(target, take):
            yield
    elif isinstance(target, Exchange):
        with _of_channel(target.channel, take, target.name):
            yield
    else:
        with _of_channel(target, take):
            yield


_PROMISE: Any = vars(kombu.messaging)["ChannelPromise"]  # where it stands differs by version
_PROPERTIES = frozenset(name for name, _ in amqp.Message.PROPERTIES)


class _NoChannel:
    """The channel of a producer that has none yet: to open one, it would connect."""


@contextmanager
def _of_producer(producer: Any, take: Callable[..., None]) -> Generator[None]:
    def _publish(*args: Any) -> None:
        # The arguments that kombu 5.3 has; later ones follow.
        body, priority, content_type, encoding, headers, properties, key, _, _, exchange, *_ = args
        # kombu passes these beside the properties, in which a broker's client would have them.
        known = {"priority": priority, "content_type": content_type, "content_encoding": encoding}
        take(body, headers, {**properties, **known}, exchange, key)

    with ExitStack() as stack:
        stack.enter_context(patch.object(producer, "_publish", _publish))
        if isinstance(producer._channel, _PROMISE):
            stack.enter_context(patch.object(producer, "_channel", _NoChannel()))
        yield


@contextmanager
def _of_channel(
    channel: Any, take: Callable[..., None], only: str | None = None
) -> Generator[None]:
    publish = channel.basic_publish

    def basic_publish(
        message: Any, exchange: str = "", routing_key: str = "", **options: Any
    ) -> Any:
        if only is not None and exchange != only:
            return publish(message, exchange=exchange, routing_key=routing_key, **options)
        if isinstance(message, amqp.Message):
            properties = dict(message.properties)
            headers, body = properties.pop("application_headers", None), message.body
        else:  # of a virtual transport
            headers, properties = message["headers"], message["properties"]
            body = channel.decode_body(message["body"], properties.get("body_encoding"))
        take(body, headers, properties, exchange, routing_key)
        return None

    with patch.object(channel, "basic_publish", basic_publish):
        yield
