"""The ways to carry a context that are compared: none, by hand, mqctx, OpenTelemetry.

What a way does to messages differs by client: see `on_pika`, `on_kombu` and `on_aio_pika`. What
is active while it publishes does not, and is here.
"""

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from typing import Any, TypeAlias
from uuid import uuid4

from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import mqctx

Values: TypeAlias = Mapping[str, str]
Block: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Makes a `with` block in which some values are active, again and again."""

RAW = "raw"
ONE = "one header by hand"
FIVE = "five headers by hand"
MQCTX = "mqctx"
MQCTX_EACH = "mqctx, a new context each"
"""Each message in a scope of its own, where all others publish many in one."""
OTEL_BY_HAND = "OpenTelemetry by hand"
OTEL = "OpenTelemetry"
OTEL_SDK = "OpenTelemetry with SDK"
INSTRUMENTED = (OTEL, OTEL_SDK)
"""The ways in which OpenTelemetry's instrumentation of the client does it, spans included."""

_NAMES = ("request_id", "tenant", "user_id", "session", "locale")
_REST = ("acme", "user-4217", "s-0b7e61d2", "en-GB")
_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def values(count: int) -> Values:
    """Return that many values as a request might bring, no two times the same."""
    few = dict(zip(_NAMES, (str(uuid4()), *_REST), strict=True))
    more = {f"name_{number}": f"value-{number}" for number in range(count)}
    return dict(list((few | more).items())[:count])


_CONSTANT = json.dumps(values(5), separators=(",", ":"))
_by_hand: ContextVar[Values] = ContextVar("by_hand")
"""Where a program keeps its context that carries it by hand."""
_FIVE = [(f"x-{name}", name) for name in _NAMES]


def nothing(_: Values) -> Block:
    """Make nothing active: how the raw client is used."""
    return nullcontext


def held(given: Values) -> Block:
    """Hold the values in a ContextVar of the program's own."""

    @contextmanager
    def block() -> Iterator[None]:
        token = _by_hand.set(given)
        try:
            yield
        finally:
            _by_hand.reset(token)

    return block


def scoped(given: Values) -> Block:
    """Make the values mqctx's context."""
    return mqctx.Context(given).scope


def attached(given: Values) -> Block:
    """Make the values OpenTelemetry's baggage, under a span that came from elsewhere."""
    remote = trace.SpanContext(
        trace_id=int(_TRACEPARENT[3:35], 16),
        span_id=int(_TRACEPARENT[36:52], 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    made = trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
    for name, value in given.items():
        made = baggage.set_baggage(name, value, made)

    @contextmanager
    def block() -> Iterator[None]:
        token = context.attach(made)
        try:
            yield
        finally:
            context.detach(token)

    return block


ACTIVE: Mapping[str, Callable[[Values], Block]] = {
    RAW: nothing,
    ONE: nothing,
    FIVE: held,
    MQCTX: scoped,
    MQCTX_EACH: nothing,
    OTEL_BY_HAND: attached,
    OTEL: attached,
    OTEL_SDK: attached,
}


_ALL = tuple(way for way in ACTIVE if way != MQCTX_EACH)
WAYS: Mapping[str, tuple[str, ...]] = {
    "pika": _ALL,
    # OpenTelemetry has no instrumentation of kombu.
    "kombu": tuple(way for way in _ALL if way not in INSTRUMENTED),
    "aio-pika": _ALL,
}
"""The ways that are compared with each client."""


def usual_otel(client: str) -> str:
    """Return OpenTelemetry's usual way with a client: its instrumentation, if there is one."""
    return OTEL if OTEL in WAYS[client] else OTEL_BY_HAND


def headers(way: str, given: Values) -> dict[str, str] | None:
    """Return the headers that a message carries when it is published this way."""
    if way == MQCTX:
        with mqctx.scope(given):
            return mqctx.Propagator().inject()
    if way == FIVE:
        return {f"x-{name}": value for name, value in given.items()}
    if way in (OTEL_BY_HAND, *INSTRUMENTED):
        pairs = ",".join(f"{name}={value}" for name, value in given.items())
        return {"traceparent": _TRACEPARENT, "baggage": pairs} if given else {}
    return one_header() if way == ONE else None


def active(way: str) -> Values:
    """Return the values that are active now, where this way keeps them."""
    if way in (MQCTX, MQCTX_EACH):
        return dict(mqctx.current())
    if way == FIVE:
        return _by_hand.get()
    if way in (OTEL_BY_HAND, *INSTRUMENTED):
        return {name: str(value) for name, value in baggage.get_all().items()}
    return {}


def in_new_contexts(publish: Callable[..., Any]) -> Callable[..., Any]:
    """Return `publish` with each call in a scope of its own, of values that differ each time."""
    given = itertools.cycle([values(5) for _ in range(500)])

    def publish_in_scope(*message: object) -> Any:
        with mqctx.scope(next(given)):
            return publish(*message)

    return publish_in_scope


def chosen(
    way: str,
    *,
    raw: Callable[..., Any],
    one: Callable[..., Any],
    five: Callable[..., Any],
    with_mqctx: Callable[..., Any],
    inject: Callable[..., Any],
) -> Callable[..., Any]:
    """Return what publishes in a way; raw where something that is installed does the rest."""
    by_way = {
        ONE: one,
        FIVE: five,
        MQCTX: with_mqctx,
        MQCTX_EACH: in_new_contexts(with_mqctx),
        OTEL_BY_HAND: inject,
    }
    return by_way.get(way, raw)


def quiet(*_: object) -> None:
    """Do nothing with a message: the handler of all that is measured."""


def one_header() -> dict[str, str]:
    """Make the least headers that carry five values: a constant of the size of ours."""
    return {"x-context": _CONSTANT}


def five_headers() -> dict[str, str]:
    """Make five headers by hand, of what is active."""
    active = _by_hand.get()
    return {key: active[name] for key, name in _FIVE}


def restore(headers: Mapping[str, str] | None) -> Token[Values]:
    """Hold, by hand, what five headers brought; `reset` it afterwards."""
    brought = headers or {}
    return _by_hand.set({name: brought[key] for key, name in _FIVE if key in brought})


def reset(token: Token[Values]) -> None:
    """Undo a `restore`."""
    _by_hand.reset(token)


class _NoExporter(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS


@functools.cache
def provider(way: str) -> TracerProvider | None:
    """Make a provider of spans that are recorded, and exported to nowhere. None: none recorded."""
    if way != OTEL_SDK:
        return None
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_NoExporter()))
    return provider


@contextmanager
def installed(instrumentor: Any, way: str) -> Iterator[None]:
    """Instrument the client library meanwhile, if it is that way: as an application would."""
    if way in INSTRUMENTED:
        instrumentor.instrument(tracer_provider=provider(way))
    try:
        yield
    finally:
        if way in INSTRUMENTED:
            instrumentor.uninstrument()
