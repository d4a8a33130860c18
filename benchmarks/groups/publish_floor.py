"""What of a publish could not be left out: the steps, each together with those before it."""

from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, TypeAlias

from benchmarks import ways
from benchmarks.own_work import CLIENTS, publishing
from benchmarks.pace import scale_to_there
from benchmarks.results import Measured, Results
from benchmarks.rounds import Variant, added, time_in_turn
from benchmarks.tables import Table
from mqctx.adapters import aio_pika, kombu, pika

PARTS = tuple(CLIENTS)
UNIT = "second"

_Publish: TypeAlias = Callable[..., Any]
_active: ContextVar[dict[str, str]] = ContextVar(
    "active", default=ways.headers(ways.MQCTX, ways.values(5)) or {}
)
_LEAST: Any = SimpleNamespace(inject_into=lambda *_: _active.get().copy())
"""A propagator that knows no formats, and keeps what the active context is encoded to."""


def _on_pika(channel: Any) -> tuple[_Publish, _Publish]:
    def passing(
        channel: Any, exchange: str, key: str, body: bytes, properties: Any, mandatory: bool = False
    ) -> Any:
        return channel.basic_publish(exchange, key, body, properties, mandatory)

    def passed(body: bytes, properties: Any) -> None:
        passing(channel, "", "orders", body, properties)

    def copied(body: bytes, properties: Any) -> None:
        pika.publish(channel, "", "orders", body, properties, propagator=_LEAST)

    return passed, copied


def _on_kombu(producer: Any) -> tuple[_Publish, _Publish]:
    def passing(producer: Any, body: bytes, *args: Any, **options: Any) -> Any:
        return producer.publish(body, *args, **options)

    def passed(body: bytes) -> None:
        passing(producer, body, "orders", delivery_mode=1)

    def copied(body: bytes) -> None:
        kombu.publish(producer, body, "orders", delivery_mode=1, propagator=_LEAST)

    return passed, copied


def _on_aio_pika(exchange: Any) -> tuple[_Publish, _Publish]:
    def passing(exchange: Any, message: Any, key: str, **options: Any) -> Any:
        return exchange.publish(message, key, **options)

    def passed(message: Any) -> Any:
        return passing(exchange, message, "orders")

    def copied(message: Any) -> Any:
        return aio_pika.publish(exchange, message, "orders", propagator=_LEAST)

    return passed, copied


_MADE_ON = {"pika": _on_pika, "kombu": _on_kombu, "aio-pika": _on_aio_pika}
_STEPS = (
    "a function that passes the arguments on",
    "with a copy of what the caller gave, and in it a copy of encoded headers",
)


def measure(part: str, seconds: float) -> Measured:
    """Time the steps, and mqctx, on the same kind of messages."""
    client = CLIENTS[part]
    chosen = (ways.RAW, ways.usual_otel(part), ways.MQCTX)
    variants = {way: publishing(client, way) for way in chosen}
    raw = variants[ways.RAW]
    for step, call in zip(_STEPS, _MADE_ON[part](client.channel()), strict=True):
        variants[step] = Variant(call, raw.items, nullcontext, raw.awaited)
    return time_in_turn(variants, seconds)


def tables(results: Results) -> list[Table]:
    """Return what the steps add to the client's own publish, together with those before them."""
    found = {part: results.of("publish_floor", part) for part in results.parts("publish_floor")}
    if len(found) < len(PARTS):
        return []
    scales = {
        part: scale_to_there(times, "publish", part, ways.usual_otel(part), ways.RAW)
        for part, times in found.items()
    }
    return [
        Table(
            "Publishing: what could not be left out",
            "Microseconds added to a publish, five values, context unchanged, on the machine of "
            "the targets (see there), by each step together with those before it: median "
            "(quartiles). The second is mqctx's own `publish`, given headers that are always the "
            "same; in the last, a propagator finds them for the active context.",
            ("step", *PARTS),
            [
                (step, *(added(found[p], step, ways.RAW).text(scales[p]) for p in PARTS))
                for step in (*_STEPS, ways.MQCTX)
            ],
        )
    ]
