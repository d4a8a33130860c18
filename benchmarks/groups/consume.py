"""What a consume costs beyond the raw one: no broker, no codec."""

from benchmarks import ways
from benchmarks.groups.publish import COUNTS, name
from benchmarks.own_work import (
    CLIENTS,
    consuming,
    consuming_again,
    consuming_sync,
    consuming_without,
)
from benchmarks.results import Measured, Results
from benchmarks.rounds import Variant, added, time_in_turn
from benchmarks.tables import Table

PARTS = tuple(CLIENTS)
UNIT = "second"
WITHOUT = "no context, "
"""Begins the names of variants whose messages brought no context."""
AGAIN = "the same again, "
"""Begins the names of variants whose messages all brought the same context."""
SYNC = "sync, "
"""Begins the names of variants with a sync handler where `async def` is usual."""


def measure(part: str, seconds: float) -> Measured:
    """Time each way with five values, and without any; ours with fewer and more too."""
    client = CLIENTS[part]
    variants: dict[str, Variant] = {}
    for way in ways.WAYS[part]:
        for count in COUNTS if way in (ways.MQCTX, ways.usual_otel(part)) else (5,):
            variants[name(way, count)] = consuming(client, way, count)
        variants[WITHOUT + way] = consuming_without(client, way)
    for way in (ways.RAW, ways.MQCTX):
        variants[AGAIN + way] = consuming_again(client, way)
    if part == "aio-pika":
        for way in (ways.RAW, ways.MQCTX):
            variants[SYNC + way] = consuming_sync(way)
    return time_in_turn(variants, seconds)


def tables(results: Results) -> list[Table]:
    """Return what each way adds, with and without a context, and by the number of values."""
    ways_rows, growth_rows = [], []
    for part in results.parts("consume"):
        times = results.of("consume", part)
        for way in ways.WAYS[part]:
            if way != ways.RAW:
                five = added(times, name(way), name(ways.RAW)).text(1e6)
                without = added(times, WITHOUT + way, WITHOUT + ways.RAW).text(1e6)
                ways_rows.append((part, way, five, without))
        cell = added(times, AGAIN + ways.MQCTX, AGAIN + ways.RAW).text(1e6)
        ways_rows.append((part, f"{ways.MQCTX}, the same context again", cell, ""))
        if SYNC + ways.MQCTX in times:
            cell = added(times, SYNC + ways.MQCTX, SYNC + ways.RAW).text(1e6)
            ways_rows.append((part, f"{ways.MQCTX}, sync handler", cell, ""))
        for way in (ways.MQCTX, ways.usual_otel(part)):
            cells = [added(times, name(way, n), name(ways.RAW)).text(1e6) for n in COUNTS]
            growth_rows.append((part, way, *cells))
    return [
        Table(
            "Consuming: own work",
            "Microseconds added to a handler's call, for messages with five values and with none; "
            "each message's values are its own: median (quartiles).",
            ("client", "way", "five values", "no context"),
            ways_rows,
        ),
        Table(
            "Consuming: number of values",
            "Microseconds added to a handler's call by the number of values: median (quartiles).",
            ("client", "way", *map(str, COUNTS)),
            growth_rows,
        ),
    ]
