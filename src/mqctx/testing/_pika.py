"""pika: deliveries that no broker made, and publishes that reach none."""

# pika comes without types that a strict checker could follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from pika import BasicProperties, ConnectionParameters
from pika.adapters.blocking_connection import BlockingChannel
from pika.callback import CallbackManager
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic

from mqctx.adapters._handler import attribute_of
from mqctx.testing._sent import Sent, note_in
from mqctx.testing._settlement import Settlement
from mqctx.testing._wire import check_body, written

TARGETS = (BlockingChannel, Channel)
_DELIVERY_TAG = 1
_CONSUMER = "mqctx.testing"


class _Frames(Channel):
    """A channel that is open, and whose frames go nowhere."""

    def __init__(self, settled: list[Settlement]) -> None:
        connection: Any = SimpleNamespace(callbacks=CallbackManager())
        super().__init__(connection, 1, lambda _: None)
        self._state = self.OPEN
        cast("Any", self)._consumers[_CONSUMER] = None
        self._settled = settled

    def _send_method(self, method: Any, _content: Any = None) -> None:
        name = {Basic.Ack: "ack", Basic.Nack: "nack", Basic.Reject: "reject"}.get(type(method))
        if name:
            requeue = getattr(method, "requeue", False)
            multiple = getattr(method, "multiple", False)
            tag = method.delivery_tag
            self._settled.append(Settlement(cast("Any", name), requeue, multiple, tag))


class _Connection:
    """The connection of a delivery, as far as settling it takes one: it takes the copies."""

    is_open = True

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note
        timers = SimpleNamespace(call_later=self.call_later, remove_timeout=lambda _: None)
        self._impl = SimpleNamespace(params=ConnectionParameters(), ioloop=timers)

    def channel(self) -> "_Connection":
        return self

    def confirm_delivery(self) -> None:
        """Each copy is confirmed."""

    def basic_publish(
        self, exchange: str, routing_key: str, body: bytes, properties: Any, **_: Any
    ) -> None:
        arrived = _arrived(properties)
        self._note(arrived.headers, arrived, attribute_of, body, routing_key, exchange)

    def call_later(self, *_: Any) -> None:
        """No time passes."""


class _Channel(BlockingChannel):
    """The channel of a delivery: `settled` has what settled it."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []
        self.dead_lettered: list[Sent] = []
        connection: Any = _Connection(note_in(self.dead_lettered))
        super().__init__(_Frames(self.settled), connection)

    def _flush_output(self, *waiters: Callable[[], bool]) -> None:
        """There is nobody to wait for."""


def pika_delivery(
    body: bytes, /, **values: object
) -> tuple[BlockingChannel, Basic.Deliver, BasicProperties, bytes]:
    """Return the arguments of a callback, `(channel, method, properties, body)`.

    They bring a context of exactly `values`. The headers went through the client's own encoder and
    decoder, and `channel.basic_ack` and the like work: `settled(channel)` tells of them.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed), or over 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
        OversizeError: the values take more bytes than the default propagator allows.
        ConfigurationError: a value is local, or the default propagator's formats have no place
            for it.
        TypeError: `body` is not bytes.
    """
    check_body(body)
    properties: Any = cast("Any", BasicProperties)()
    properties.headers = written(values, None, properties)
    method = cast("Any", Basic.Deliver)(_CONSUMER, _DELIVERY_TAG, False, "", "")
    return _Channel(), method, _arrived(properties), body


def _arrived(properties: Any) -> BasicProperties:
    arrived: BasicProperties = cast("Any", BasicProperties)().decode(b"".join(properties.encode()))
    return arrived


@contextmanager
def recorded(target: Any, note: Callable[..., None]) -> Generator[None]:
    """Let the publishes of a channel reach `note` instead of a broker."""
    blocking: Any = target if isinstance(target, BlockingChannel) else None
    channel: Any = target if blocking is None else blocking._impl
    send = channel._send_method

    def send_method(method: Any, content: Any = None) -> None:
        if not isinstance(method, Basic.Publish):
            send(method, content)
            return
        sent: Any = method
        properties = _arrived(content[0])
        note(
            *(properties.headers, properties, attribute_of),
            *(content[1], sent.routing_key, sent.exchange),
        )
        if blocking is not None and blocking._delivery_confirmation:
            frame = Method(channel.channel_number, cast("Any", Basic.Ack)())
            blocking._message_confirmation_result.set_value_once(frame)

    with ExitStack() as stack:
        stack.enter_context(patch.object(channel, "_send_method", send_method))
        # Open even where nobody has opened it, as the broker stays out of this.
        stack.enter_context(patch.object(channel, "_state", channel.OPEN))
        if blocking is not None:
            stack.enter_context(patch.object(blocking, "_flush_output", lambda *_: None))
        yield
