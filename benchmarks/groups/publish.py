"""What a publish costs beyond the raw one: no broker, no codec."""

from benchmarks import ways
from benchmarks.own_work import CLIENTS, publishing, publishing_changed
from benchmarks.results import Measured, Results
from benchmarks.rounds import Variant, added, time_in_turn
from benchmarks.tables import Table

PARTS = tuple(CLIENTS)
UNIT = "second"
COUNTS = (0, 1, 5, 20, 50)
CHANGED = "changed, "
"""Begins the names of variants in which each message has another context."""


def name(way: str, count: int = 5) -> str:
    """Name a variant."""
    return f"{way}, {count} values"


def measure(part: str, seconds: float) -> Measured:
    """Time each way with five values, ours and OpenTelemetry's with fewer and more too."""
    client = CLIENTS[part]
    variants: dict[str, Variant] = {}
    for way in ways.WAYS[part]:
        for count in COUNTS if way in (ways.MQCTX, ways.usual_otel(part)) else (5,):
            variants[name(way, count)] = publishing(client, way, count)
    for count in COUNTS[1:]:
        for way in (ways.RAW, ways.MQCTX):
            variants[CHANGED + name(way, count)] = publishing_changed(client, way, count)
    return time_in_turn(variants, seconds)


def tables(results: Results) -> list[Table]:
    """Return what each way adds, and how it grows with the number of values."""
    ways_rows, growth_rows = [], []
    for part in results.parts("publish"):
        times = results.of("publish", part)
        base = name(ways.RAW)
        ways_rows += [
            (part, way, added(times, name(way), base).text(1e6))
            for way in ways.WAYS[part]
            if way != ways.RAW
        ]
        for way, start in ((ways.MQCTX, ""), (ways.MQCTX, CHANGED), (ways.usual_otel(part), "")):
            cells = [
                added(times, start + name(way, count), start + name(ways.RAW, 5)).text(1e6)
                if start + name(way, count) in times
                else ""
                for count in COUNTS
            ]
            growth_rows.append((part, start + way, *cells))
    return [
        Table(
            "Publishing: own work",
            "Microseconds added to a publish with five values, real client objects on a stubbed "
            "connection: median (quartiles).",
            ("client", "way", "added"),
            ways_rows,
        ),
        Table(
            "Publishing: number of values",
            "Microseconds added to a publish by the number of values: median (quartiles). "
            "`changed`: each message in a scope of its own, which the raw publish is too.",
            ("client", "way", *map(str, COUNTS)),
            growth_rows,
        ),
    ]
