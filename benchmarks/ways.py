"""The ways to carry five values that are compared: none, by hand, mqctx, OpenTelemetry."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar, copy_context
from importlib import import_module
from itertools import cycle, repeat
from typing import Any

import sentry_sdk
from opentelemetry import baggage, context, propagate

import mqctx

RAW = "raw"
ONE = "one header by hand"
"""A constant: the least that carries five values."""
FIVE = "five headers by hand"
MQCTX = "mqctx"
MQCTX_EACH = "mqctx, a new context each"
"""Each message in a scope of its own, where all others publish many in one."""
OTEL = "OpenTelemetry"
"""Its instrumentation of the client; for kombu, which has none, inject and extract alone."""

MIXED = "mqctx, of all kinds"
"""One of the five values is declared, one linked to a ContextVar, one bound later."""

OURS = (MQCTX, MQCTX_EACH, MIXED)
BY_HAND = "by hand"
SENTRY = "Sentry"
"""Its SDK with one integration, without tracing, and with a transport that drops everything."""
PEERS = "the cheapest peer"
NO_PEERS = (*OURS, RAW, ONE, FIVE, BY_HAND)
CORRELATION_ID, STARLETTE_CONTEXT = "asgi-correlation-id", "starlette-context"
MERGE, CONTEXTUALIZE = "merge_contextvars", "contextualize"

CLIENTS = ("pika", "kombu", "aio-pika")
BODY = b"x" * 256
VALUES = {
    "request_id": "7f1f9d6c0a5b4f6f9d0c3f6a1f2e3d4c",
    "tenant": "acme",
    "user_id": "user-4217",
    "session": "s-0b7e61d2",
    "locale": "en-GB",
}
PREFETCH = 200
TIMEOUT = 30.0
"""Seconds in which something must arrive."""
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

kept: ContextVar[Mapping[str, str]] = ContextVar("kept")
"""Keeps the values in a program that carries them by hand."""
_linked: ContextVar[str] = ContextVar("linked")
_HEADERS = [(f"x-{name}", name) for name in VALUES]


def values(number: int) -> dict[str, str]:
    """Return the values of one request among others."""
    return {**VALUES, "request_id": f"{number:032x}"}


def headers(way: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a message that was published with these values in this way."""
    if way == MQCTX:
        with mqctx.scope(given):
            return mqctx.Propagator().inject()
    if way == OTEL:
        pairs = ",".join(f"{name}={value}" for name, value in given.items())
        return {"traceparent": TRACEPARENT, "baggage": pairs}
    return {key: given[name] for key, name in _HEADERS} if way == FIVE else {}


@contextmanager
def active(way: str, given: Mapping[str, str]) -> Iterator[None]:
    """Make the values active, where this way keeps them."""
    if way == MQCTX:
        with mqctx.scope(given):
            yield
    elif way == MIXED:
        mqctx.Variable("user_id", str)
        mqctx.Variable("locale", str, contextvar=_linked)
        with mqctx.scope({name: given[name] for name in given if name != "session"}):
            mqctx.bind(session=given["session"])
            yield
    elif way == OTEL:
        token = context.attach(propagate.extract(headers(OTEL, given)))
        yield
        context.detach(token)
    elif way == SENTRY:
        with sentry_sdk.isolation_scope():
            brought = {"sentry-trace": f"{given['request_id']}-b7ad6b7169203331"}
            sentry_sdk.get_isolation_scope().generate_propagation_context(brought)
            yield
    else:
        held = kept.set(given)
        yield
        kept.reset(held)


def read(way: str) -> dict[str, Any]:
    """Return the values that are active now, where this way keeps them."""
    if way in OURS:
        return dict(mqctx.current())
    if way == SENTRY:
        return {"trace": str(sentry_sdk.get_traceparent()).split("-")[0]}
    return dict(baggage.get_all() if way == OTEL else kept.get({}))


_ONE = headers(MQCTX, VALUES)


def one_header() -> dict[str, str]:
    """Make a constant header of the size of ours."""
    return dict(_ONE)


def five_headers() -> dict[str, str]:
    """Make five headers by hand, of what is active."""
    given = kept.get()
    return {key: given[name] for key, name in _HEADERS}


def from_five(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the values that five headers brought."""
    brought = headers or {}
    return {name: brought[key] for key, name in _HEADERS if key in brought}


_REQUESTS = [values(number) for number in range(500)]


def messages(way: str, count: int) -> Iterator[None]:
    """Iterate so many times in one context, as one job publishes, or each time in another."""
    if way == MQCTX_EACH:
        for number in range(count):
            with mqctx.scope(_REQUESTS[number % len(_REQUESTS)]):
                yield
    else:
        with active(way, VALUES):
            yield from repeat(None, count)


def contexts(way: str) -> "Iterator[Context]":
    """Iterate over contexts in which values are active in this way, no two in a row the same."""

    def made(number: int) -> Context:
        with active(way, values(number)):
            return copy_context()

    return cycle([made(number) for number in range(1, 11)])


class _Dropping(sentry_sdk.Transport):
    def capture_envelope(self, envelope: object) -> None:
        pass


def start_sentry(*integrations: Any) -> None:
    """Set up Sentry's SDK with nothing but these."""
    sentry_sdk.init(
        "http://key@sentry.invalid/1",
        transport=_Dropping,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=integrations,
    )


hold = ExitStack().enter_context
"""Enter a `with` block for as long as the process lives."""


@contextmanager
def installed(instrumentor: Callable[[], Any], way: str) -> Iterator[None]:
    """Instrument a client library meanwhile, as an application does, if it is that way."""
    if way == OTEL:
        instrumentor().instrument()
    yield
    if way == OTEL:
        instrumentor().uninstrument()


def module(client: str) -> Any:
    """Import what does it with a client: only this one, as each import takes its time."""
    return import_module(f"benchmarks.on_{client.replace('-', '_')}")


@contextmanager
def sessions(client: str, chosen: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Open a session for each way, on the broker that the benchmarks run with.

    Raises:
        AssertionError: the values do not arrive in a way in which they should, or do in another.
    """
    url = os.environ["MQCTX_BROKER_URL"].rstrip("/")
    with ExitStack() as stack:
        opened: dict[str, Any] = {}
        for way in chosen:
            opened[way] = session = module(client).Session(url, way)
            stack.callback(session.close)
            _check_arrival(session, way)
        yield opened


def _check_arrival(session: Any, way: str) -> None:
    arrived: list[dict[str, Any]] = []
    session.publish(1)
    session.consume(1, lambda: arrived.append(read(way)))
    expected = {RAW: {}, ONE: {}, MQCTX_EACH: values(0)}.get(way, VALUES)
    assert arrived == [expected], f"{way}: {arrived} arrived"
