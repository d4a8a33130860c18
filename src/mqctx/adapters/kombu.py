"""Context through kombu, on each of its transports."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import partial, wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar, Unpack, cast

from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.message import Message
from kombu.messaging import Consumer, Producer
from kombu.pidbox import Mailbox
from kombu.transport.base import StdChannel

from mqctx._core.identity import function_name
from mqctx._core.isolation import Arguments, KeywordArguments
from mqctx._core.scope import Scope
from mqctx._core.store import current
from mqctx._lazy import names_of, when_called
from mqctx._propagation.decoder import MAPPINGS
from mqctx._propagation.propagator import Propagator, registry
from mqctx.adapters._attached import Consumed, attached
from mqctx.adapters._handler import (
    HandlerDecorator,
    context_from,
    headers_of,
    scope_from,
)
from mqctx.adapters._instrumentation import (
    Hook,
    InjectedHeaders,
    Instrument,
    Instrumentation,
    Method,
    Uninstrument,
)
from mqctx.adapters._kombu_properties import property_of
from mqctx.adapters._kombu_reports import origin_of
from mqctx.adapters._reports import with_report

if TYPE_CHECKING:
    from mqctx.adapters._dead_letter import DeadLetter
    from mqctx.adapters._kombu_settling import settled

__all__ = [
    "DeadLetter",
    "consume_with_context",
    "instrument",
    "publish",
    "restored",
    "settled",
    "uninstrument",
]

P = ParamSpec("P")
R = TypeVar("R")

# The position of `headers` among the arguments, and the names from there on.
_parameters = list(signature(cast("Any", Producer).publish).parameters)[1:]
_HEADERS = _parameters.index("headers")
_NAMES = _parameters[_HEADERS:]


class Properties(TypedDict, total=False):
    """The AMQP properties of a message that have no parameter of their own in kombu."""

    app_id: str | None
    cluster_id: str | None
    correlation_id: str | None
    message_id: str | None
    reply_to: str | Queue | None
    timestamp: object
    type: str | None
    user_id: str | None


def _publish(
    producer: Any, *args: object, propagator: Propagator | None = None, **options: Any
) -> Any:
    if len(args) > _HEADERS:
        args = _by_name(args, options)
    inject = (propagator or registry.propagator).inject_into
    headers = inject(options.get("headers"), options, _set_property)
    # Marked for our own hook, through which this goes too: it must not inject again.
    options["headers"] = InjectedHeaders(headers) if _instrumentation.in_place else headers
    return producer.publish(*args, **options)


def _done_by(function: Method) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a function with each parameter, but run it with only those that are given."""

    def declare(declared: Callable[P, R]) -> Callable[P, R]:
        return cast("Callable[P, R]", wraps(declared)(function))

    return declare


@_done_by(_publish)
def publish(
    producer: Producer,
    body: object,
    routing_key: str | None = None,
    delivery_mode: int | str | None = None,
    mandatory: bool = False,
    immediate: bool = False,
    priority: int = 0,
    content_type: str | None = None,
    content_encoding: str | None = None,
    serializer: str | None = None,
    headers: Mapping[str, Any] | None = None,
    compression: str | None = None,
    exchange: Exchange | str | None = None,
    retry: bool = False,
    retry_policy: Mapping[str, object] | None = None,
    declare: Sequence[object] | None = None,
    expiration: float | None = None,
    timeout: float | None = None,
    confirm_timeout: float | None = None,
    *,
    propagator: Propagator | None = None,
    **properties: Unpack[Properties],
) -> Any:
    """Call `producer.publish` with the active context in the message's headers.

    The headers given, by name or by position, stay as they are: a copy is sent. Only the arguments
    given are passed on, so that a producer class keeps its own defaults, and an old kombu without
    `confirm_timeout` does not get it.

    Returns:
        Kombu's own result, which has no type there: a promise on pyamqp, else None.

    Raises:
        OversizeError: the context takes more bytes than the propagator allows.
        HeadersError: the headers given are not a mapping.
    """


def _set_property(options: KeywordArguments, name: str, text: str) -> None:
    if options.get(name) is None:
        options[name] = text


def _by_name(args: Arguments, options: KeywordArguments) -> Arguments:
    """Put the positional arguments from the headers on among `options`; return those before."""
    options.update(zip(_NAMES, args[_HEADERS:], strict=False))
    return args[:_HEADERS]


# Loaded for those who ask: it takes a while, and hooks py-amqp to keep what it drops.
_SETTLING = "_kombu_settling"
__getattr__: Callable[[str], Any] = names_of(
    __name__, __package__, {"DeadLetter": _SETTLING, "settled": _SETTLING}
)
consume_with_context: HandlerDecorator = HandlerDecorator(
    *("body", "message"),
    carrier="message",
    kind=Message,
    awaited_by_client=False,
    property_of=property_of,
    settler=when_called(f"{__package__}.{_SETTLING}", "settler"),
    origin_of=origin_of,
)
"""Decorate a `(body, message)` or `(message)` callback to run in its message's context."""


def restored(message: Message, /, *, propagator: Propagator | None = None) -> Scope:
    """Return a `with` block inside exactly the context that `message` brought.

    For `SimpleQueue.get`, `Queue.get` and loops of your own.
    """
    return scope_from(headers_of(message), propagator, message, property_of, origin_of=origin_of)


_instrumentation = Instrumentation(Connection, StdChannel, Producer, Consumer)
_replies: ContextVar[bool] = ContextVar("mqctx-kombu-replies", default=False)
"""Whether a mailbox publishes a reply: an error would be lost, and the caller wait for ever."""


def _around_publish(original: Method) -> Method:
    def publish(self: Producer, *args: object, **options: object) -> object:
        if len(args) > _HEADERS:
            args = _by_name(args, options)
        given: Any = options.get("headers")
        if type(given) is InjectedHeaders:
            options["headers"] = given.copy()
        elif given is None or isinstance(given, MAPPINGS):  # kombu refuses anything else
            propagator = _instrumentation.propagator_for(self, _owners)
            if propagator is not None:
                inject, trim = propagator.inject_into, _is_reply(options)
                options["headers"] = inject(given, options, _set_property, trim=trim)
        return original(self, *args, **options)

    return publish


def _is_reply(options: KeywordArguments) -> bool:
    """Whether a message answers one and asks for no answer, as the results of Celery's RPC do.

    Or a mailbox publishes it. Either way an error would be lost.
    """
    return _replies.get() or (
        options.get("correlation_id") is not None and not options.get("reply_to")
    )


def _around_reply(original: Method) -> Method:
    def _publish_reply(self: Mailbox, *args: object, **options: object) -> object:
        token = _replies.set(True)
        try:
            return original(self, *args, **options)
        finally:
            _replies.reset(token)

    return _publish_reply


def _around_receive(original: Method) -> Method:
    # This calls all code that sees a message: decoding, on_decode_error, on_message, and `receive`
    # with the callbacks.
    def _receive_callback(self: Consumer, message: object) -> object:
        propagator = _instrumentation.propagator_for(self, _owners)
        if propagator is None:
            return original(self, message)
        # On py-amqp it is still amqp's own kind of message, which has `headers` too.
        headers = headers_of(message)
        context = context_from(headers, propagator, message, property_of)
        receive = original if registry.report is None else _with_report(original, self, message)
        return context.snapshot(headers).run(receive, self, message)

    return _receive_callback


def _with_report(receive: Method, consumer: Any, message: Any) -> Method:
    """Return `receive` with a report of the callbacks.

    A consumer with `on_message`, such as that of Celery's worker, has none: it does the work
    later, or elsewhere.
    """

    def report(*arguments: Any) -> object:
        origin, name = partial(origin_of, message, ()), function_name(consumer.callbacks[0])
        report = with_report(receive, origin, headers_of(message), current(), name)
        return report(*arguments)

    return report if consumer.callbacks and not consumer.on_message else receive


def _around_consume(original: Method) -> Method:
    def consume(
        self: Any, consumer_tag: str = "", callback: object = None, *args: object, **options: object
    ) -> object:
        if isinstance(self.channel, StdChannel):  # a mock of one expects the callback as given
            callback = _hooked(self, callback)
            attached(self.channel, Consumed)[consumer_tag] = self.name
        return original(self, consumer_tag, callback, *args, **options)

    return consume


def _hooked(queue: Queue, callback: object) -> object:
    if isinstance(getattr(callback, "__self__", None), Consumer):
        return callback  # a Consumer has a hook of its own
    propagator_now = partial(_instrumentation.propagator_for, queue, _owners)
    return consume_with_context.hook(callback, propagator_now)


def _around_clone(original: Method) -> Method:
    # ConsumerMixin and the pools work on clones of the connection that they are given.
    def clone(self: Connection, *args: object, **options: object) -> object:
        cloned = original(self, *args, **options)
        _instrumentation.share(self, cloned)
        return cloned

    return clone


def _owners(user: Any) -> Iterator[object]:
    yield user
    yield user.channel
    # A queue knows its connection through its channel only, which on some transports has none.
    connection = getattr(user, "connection", None) or getattr(user.channel, "connection", None)
    yield getattr(connection, "client", connection)


_instrumentation.use(
    Hook(Producer, "publish", _around_publish),
    Hook(Mailbox, "_publish_reply", _around_reply),
    Hook(Consumer, "_receive_callback", _around_receive),
    Hook(Queue, "consume", _around_consume),
    Hook(Connection, "clone", _around_clone),
)
instrument: Instrument = _instrumentation.instrument
uninstrument: Uninstrument = _instrumentation.uninstrument
