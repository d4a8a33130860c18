"""Rows of own work: a publish, a consume, a scope, and reading a value; there is no broker."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

from opentelemetry import baggage, context

import mqctx
from benchmarks import ways


def nothing() -> None:
    """Take the place of what is measured."""


def publish(way: str, client: str) -> Callable[[], object]:
    """Publish messages with five values, all in one context."""
    module = ways.module(client)
    ways.hold(ways.active(way, ways.VALUES))
    publisher = module.publisher(way, module.silent())
    return _calling(publisher, itertools.repeat(module.message()))


def consume(way: str, client: str) -> Callable[[], object]:
    """Handle messages, each with five values that are not those of the one before."""
    module = ways.module(client)
    deliveries = [module.delivery(ways.headers(way, ways.values(n))) for n in range(10)]
    return _calling(module.receiver(module.handler(way, module.quiet)), itertools.cycle(deliveries))


def _calling(call: Callable[..., Any], items: Iterator[tuple[Any, ...]]) -> Callable[[], object]:
    def called() -> None:
        call(*next(items))

    async def awaited() -> None:
        await call(*next(items))

    return awaited if asyncio.iscoroutinefunction(call) else called


def scope(way: str) -> Callable[[], object]:
    """Enter and leave a block with two values."""
    request_id: ContextVar[str] = ContextVar("request_id")
    tenant: ContextVar[str] = ContextVar("tenant")
    if way == ways.MIXED:
        mqctx.Variable("request_id", str)
        mqctx.Variable("tenant", str, contextvar=ContextVar("linked"))

    def by_hand() -> None:
        first, second = request_id.set("r-1"), tenant.set("acme")
        tenant.reset(second)
        request_id.reset(first)

    def with_baggage() -> None:
        made = baggage.set_baggage("tenant", "acme", baggage.set_baggage("request_id", "r-1"))
        context.detach(context.attach(made))

    def with_mqctx() -> None:
        with mqctx.scope(request_id="r-1", tenant="acme"):
            pass

    return _of_way(way, by_hand, with_mqctx, with_baggage)


def get(way: str) -> Callable[[], object]:
    """Read one of five values."""
    ways.hold(ways.active(way, ways.VALUES))
    own: ContextVar[str] = ContextVar("own")
    own.set("acme")
    tenant = mqctx.Variable("tenant", str)

    def by_hand() -> None:
        own.get()

    def with_baggage() -> None:
        baggage.get_baggage("tenant")

    def with_mqctx() -> None:
        tenant.get()

    return _of_way(way, by_hand, with_mqctx, with_baggage)


def run(way: str) -> Callable[[], object]:
    """Call an `async def` inside a context of five values."""
    ways.hold(ways.active(way, ways.VALUES))
    given = mqctx.current()

    async def inside() -> None:
        pass

    async def raw() -> None:
        await inside()

    async def by_hand() -> None:
        await copy_context().run(inside)

    async def with_mqctx() -> None:
        await given.run(inside)

    return _of_way(way, by_hand, with_mqctx, raw=raw)


def _of_way(
    way: str,
    by_hand: Callable[[], object],
    with_mqctx: Callable[[], object],
    with_otel: Callable[[], object] = nothing,
    raw: Callable[[], object] = nothing,
) -> Callable[[], object]:
    if way in ways.OURS:
        return with_mqctx
    return {ways.BY_HAND: by_hand, ways.OTEL: with_otel}.get(way, raw)
