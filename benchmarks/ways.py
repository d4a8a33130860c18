"""The ways to carry a context that are compared: none, by hand, mqctx, OpenTelemetry.

What a way does to messages differs by client: see `on_pika`, `on_kombu` and `on_aio_pika`. What
is active while it publishes does not, and is here.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from uuid import uuid4

from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import mqctx

Values = Mapping[str, str]
Active = Callable[[Values], AbstractContextManager[object]]

RAW = "raw"
ONE = "one header by hand"
FIVE = "five headers by hand"
MQCTX = "mqctx"
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


VARIABLES = {name: ContextVar[str](name) for name in values(50)}
"""What a program without mqctx keeps its values in."""
_FIVE = [(f"x-{name}", VARIABLES[name]) for name in _NAMES]


def nothing(_: Values) -> AbstractContextManager[object]:
    """Make nothing active: how the raw client is used."""
    return nullcontext()


@contextmanager
def variables(given: Values) -> Iterator[None]:
    """Hold the values in one ContextVar each."""
    tokens = [VARIABLES[name].set(value) for name, value in given.items()]
    try:
        yield
    finally:
        for token in tokens:
            token.var.reset(token)


def otel_context(given: Values) -> Context:
    """Return an OpenTelemetry context with the values as baggage, under a remote span."""
    remote = trace.SpanContext(
        trace_id=int(_TRACEPARENT[3:35], 16),
        span_id=int(_TRACEPARENT[36:52], 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    made = trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
    for name, value in given.items():
        made = baggage.set_baggage(name, value, made)
    return made


@contextmanager
def attached(given: Values) -> Iterator[None]:
    """Make the values OpenTelemetry's baggage."""
    token = context.attach(otel_context(given))
    try:
        yield
    finally:
        context.detach(token)


ACTIVE: Mapping[str, Active] = {
    RAW: nothing,
    ONE: variables,
    FIVE: variables,
    MQCTX: mqctx.scope,
    OTEL_BY_HAND: attached,
    OTEL: attached,
    OTEL_SDK: attached,
}


def headers(way: str, given: Values) -> dict[str, str] | None:
    """Return the headers that a message carries when it is published this way."""
    if way == RAW:
        return None
    if way == ONE:
        return one_header()
    if way == FIVE:
        return {f"x-{name}": value for name, value in given.items()}
    if way == MQCTX:
        with mqctx.scope(given):
            return mqctx.configure().inject()
    pairs = ",".join(f"{name}={value}" for name, value in given.items())
    return {"traceparent": _TRACEPARENT, "baggage": pairs} if given else {}


def one_header() -> dict[str, str]:
    """Make the headers of the least that anybody could do: a constant."""
    return {"x-context": "0b7e61d2-7f0c-4a51-9d0e-6f2f3b7a1c55"}


def five_headers() -> dict[str, str]:
    """Make five headers by hand, of what is active."""
    return {key: variable.get() for key, variable in _FIVE}


def restore(headers: Mapping[str, str] | None) -> list[Token[str]]:
    """Hold in ContextVars, by hand, what five headers brought."""
    if not headers:
        return []
    return [variable.set(headers[key]) for key, variable in _FIVE if key in headers]


def reset(tokens: list[Token[str]]) -> None:
    """Undo a `restore`."""
    for token in tokens:
        token.var.reset(token)


class _NoExporter(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS


def provider(way: str) -> TracerProvider | None:
    """Make a provider of spans that are recorded, and exported to nowhere. None: none recorded."""
    if way != OTEL_SDK:
        return None
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_NoExporter()))
    return provider
