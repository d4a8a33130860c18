"""Context through pika: BlockingConnection, SelectConnection and AsyncioConnection."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from pika import BasicProperties, BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.channel import Channel
from pika.connection import Connection
from pika.spec import Basic

from mqctx._core.scope import Scope
from mqctx._lazy import names_of, when_called
from mqctx._propagation.decoder import MAPPINGS
from mqctx._propagation.propagator import Propagator, registry
from mqctx.adapters._attached import Consumed, attached
from mqctx.adapters._handler import HandlerDecorator, headers_of, scope_from
from mqctx.adapters._instrumentation import (
    Hook,
    Instrument,
    Instrumentation,
    Method,
    Uninstrument,
)
from mqctx.adapters._pika_properties import PropertiesWithContext
from mqctx.adapters._pika_reports import origin_of

if TYPE_CHECKING:
    from mqctx.adapters._dead_letter import DeadLetter
    from mqctx.adapters._pika_settling import settled

__all__ = [
    "DeadLetter",
    "consume_with_context",
    "instrument",
    "publish",
    "restored",
    "settled",
    "uninstrument",
]

_new = object.__new__
_BLANK: Any = BasicProperties()  # type: ignore[no-untyped-call]  # pika has no annotation here


def publish(
    channel: BlockingChannel | Channel,
    exchange: str,
    routing_key: str,
    body: bytes,
    properties: BasicProperties | None = None,
    mandatory: bool = False,
    *,
    propagator: Propagator | None = None,
) -> None:
    """Call `channel.basic_publish` with the active context in the message's headers.

    `properties` and its headers stay as they are: a copy is sent.

    Raises:
        OversizeError: the context takes more bytes than the propagator allows.
        HeadersError: the headers in `properties` are not a mapping.
    """
    properties = _injected(properties, propagator or registry.propagator)
    return channel.basic_publish(exchange, routing_key, body, properties, mandatory)


def _injected(properties: BasicProperties | None, propagator: Propagator) -> BasicProperties:
    given: Any = _BLANK if properties is None else properties
    # Twice as fast as a copy of the __dict__, which would slow down pika's encoding as well.
    injected = _new(PropertiesWithContext)
    injected.content_type = given.content_type
    injected.content_encoding = given.content_encoding
    injected.delivery_mode = given.delivery_mode
    injected.priority = given.priority
    injected.correlation_id = given.correlation_id
    injected.reply_to = given.reply_to
    injected.expiration = given.expiration
    injected.message_id = given.message_id
    injected.timestamp = given.timestamp
    injected.type = given.type
    injected.user_id = given.user_id
    injected.app_id = given.app_id
    injected.cluster_id = given.cluster_id
    headers = propagator.inject_into(given.headers, injected, _set_property)
    # As given, if there is nothing to add: pika would send an empty table.
    injected.headers = None if given.headers is None and not headers else headers
    return injected


def _set_property(properties: BasicProperties, name: str, text: str) -> None:
    if getattr(properties, name) is None:
        setattr(properties, name, text)


# Loaded for those who ask: it takes a while, and lets pika keep what it drops.
_SETTLING = "_pika_settling"
__getattr__: Callable[[str], Any] = names_of(
    __name__, __package__, {"DeadLetter": _SETTLING, "settled": _SETTLING}
)
consume_with_context: HandlerDecorator = HandlerDecorator(
    *("channel", "method", "properties", "body"),
    carrier="properties",
    kind=BasicProperties,
    awaited_by_client=False,
    settler=when_called(f"{__package__}.{_SETTLING}", "settler"),
    origin_of=origin_of,
)
"""Decorate a `(channel, method, properties, body)` callback to run in its message's context."""


def restored(
    properties: BasicProperties | None,
    /,
    *,
    channel: BlockingChannel | Channel | None = None,
    method: Basic.Deliver | Basic.GetOk | None = None,
    propagator: Propagator | None = None,
) -> Scope:
    """Return a `with` block inside exactly the context that a message brought.

    For `channel.consume(...)` and `basic_get`, which return the properties beside the body; None,
    which they return without a message, means the empty context.

    Args:
        properties: Those of the message.
        channel: The channel that it came through, and
        method: what the client returned with it. `configure(report=...)` reports blocks that are
            given both.
        propagator: Extracts. None: the default one.
    """
    origin = (channel, method)
    return scope_from(
        headers_of(properties), propagator, properties, origin_of=origin_of, arguments=origin
    )


_instrumentation = Instrumentation(BlockingConnection, BlockingChannel, Connection, Channel)


def _around_publish(original: Method) -> Method:
    # BlockingChannel.basic_publish calls the one of the Channel below it: both are hooked.
    def basic_publish(
        self: BlockingChannel | Channel,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: BasicProperties | None = None,
        mandatory: bool = False,
    ) -> object:
        if type(properties) is not PropertiesWithContext and _may_inject(properties):
            propagator = _instrumentation.propagator_for(self, _owners)
            if propagator is not None:
                properties = _injected(properties, propagator)
        return original(self, exchange, routing_key, body, properties, mandatory)

    return basic_publish


def _may_inject(properties: Any) -> bool:
    if properties is None:
        return True
    if isinstance(properties, PropertiesWithContext) or not isinstance(properties, BasicProperties):
        return False
    # pika refuses anything else.
    return properties.headers is None or isinstance(properties.headers, MAPPINGS)


def _around_consume(original: Method) -> Method:
    def basic_consume(
        self: BlockingChannel | Channel,
        queue: str,
        on_message_callback: object,
        *args: object,
        **kwargs: object,
    ) -> object:
        tag = original(self, queue, _hooked(self, on_message_callback), *args, **kwargs)
        if isinstance(self, Channel):  # a BlockingChannel calls the one below it
            attached(self, Consumed)[tag] = queue
        return tag

    return basic_consume


def _around_get(original: Method) -> Method:
    def basic_get(
        self: Channel, queue: str, callback: object, *args: object, **kwargs: object
    ) -> object:
        return original(self, queue, _hooked(self, callback), *args, **kwargs)

    return basic_get


def _hooked(channel: BlockingChannel | Channel, callback: object) -> object:
    if type(getattr(callback, "__self__", None)).__module__ == BlockingChannel.__module__:
        return callback  # a BlockingChannel's own, which calls the application later
    return consume_with_context.hook(
        callback, partial(_instrumentation.propagator_for, channel, _owners)
    )


def _owners(channel: Any) -> Iterator[object]:
    yield channel
    yield channel.connection


_instrumentation.use(
    Hook(BlockingChannel, "basic_publish", _around_publish),
    Hook(Channel, "basic_publish", _around_publish),
    Hook(BlockingChannel, "basic_consume", _around_consume),
    Hook(Channel, "basic_consume", _around_consume),
    Hook(Channel, "basic_get", _around_get),
)
instrument: Instrument = _instrumentation.instrument
uninstrument: Uninstrument = _instrumentation.uninstrument
