"""What mqctx has to reach, beside what was measured in the same run."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks import ways
from benchmarks.groups import consume, imported, instructions, publish, throughput
from benchmarks.pace import scale_to_there
from benchmarks.results import Results
from benchmarks.rounds import added, ratio
from benchmarks.tables import Row, Table


@dataclass(frozen=True, slots=True)
class Reached:
    """One target, and what was measured, in the unit of the target."""

    what: str
    target: str
    met: bool
    mqctx: str
    one: str = ""
    five: str = ""
    otel: str = ""

    def row(self) -> Row:
        """Return a row of the table."""
        others = (self.one, self.five, self.otel)
        return (self.what, *others, self.target, self.mqctx, _YES_NO[self.met])


_YES_NO = {True: "yes", False: "**no**"}


def table(results: Results) -> Table:
    """Return a table of all the targets of the groups that were measured."""
    reached = [
        *_instructions(results),
        *_allocations(results),
        *_throughput(results),
        *_publish(results),
        *_consume(results),
        *_import(results),
    ]
    return Table(
        "Targets",
        "Five values, default settings; OpenTelemetry is its instrumentation, or by hand for "
        "kombu, which it does not instrument. All of a line were measured in the same run. One "
        "header by hand, a constant, is the least that anybody could do. Each message consumed "
        "has a context of its own, except where it says: again. Microseconds are those of the "
        "machine that the targets come from: what was measured here, divided by how much longer "
        "OpenTelemetry took in the same rounds than there (with pika, 13.0 us for a publish and "
        "21.9 us for a consume). What stands in the way where one is not met: see what the "
        "instructions leave, for throughput, and what could not be left out, for own work.",
        ("what", ways.ONE, ways.FIVE, ways.OTEL, "target", ways.MQCTX, "met"),
        [each.row() for each in reached],
    )


def _instructions(results: Results) -> Iterator[Reached]:
    for client, most in {"pika": 40_000, "kombu": 40_000, "aio-pika": 45_000}.items():
        if client in results.parts("instructions"):
            counts = _added(results, client)
            yield Reached(
                f"instructions added to a publish and a consume, {client}",
                f"<= {most:,}",
                counts[ways.MQCTX] <= most,
                *(f"{count:,.0f}" for count in counts.values()),
            )


def _allocations(results: Results) -> Iterator[Reached]:
    for client in ways.WAYS:
        part = client + instructions.ALLOCATIONS
        if part in results.parts("instructions"):
            counts = _added(results, part)
            yield Reached(
                f"calls of malloc added to a publish and a consume, {client}",
                "below five headers by hand",
                counts[ways.MQCTX] < counts[ways.FIVE],
                *(f"{count:.0f}" for count in counts.values()),
            )


def _added(results: Results, part: str) -> dict[str, float]:
    client = part.removesuffix(instructions.ALLOCATIONS)
    return {way: instructions.total_added(results, part, way) for way in _compared(client)}


def _compared(client: str) -> tuple[str, ...]:
    """Return the ways in the order of a target's arguments."""
    return ways.MQCTX, ways.ONE, ways.FIVE, ways.usual_otel(client)


def _throughput(results: Results) -> Iterator[Reached]:
    least = {throughput.PUBLISHING: 0.94, throughput.CONSUMING: 0.90}
    for client in filter(ways.WAYS.__contains__, results.parts("throughput")):
        times = results.of("throughput", client)
        for doing, share in least.items():
            ours, one, five, otel = (
                ratio(times, doing + way, doing + ways.RAW).median for way in _compared(client)
            )
            yield Reached(
                f"throughput to raw, {doing}{client}",
                f">= {share:.2f}, above five headers by hand",
                ours >= share and ours > five,
                *(f"{each:.2f}" for each in (ours, one, five, otel)),
            )


def _publish(results: Results) -> Iterator[Reached]:
    base = publish.name(ways.RAW)
    for client in results.parts("publish"):
        times = results.of("publish", client)
        scale = scale_to_there(
            times, "publish", client, publish.name(ways.usual_otel(client)), base
        )
        most = 1.0 if client == "aio-pika" else 0.7
        measured = (added(times, publish.name(way), base).median for way in _compared(client))
        yield _time(f"own work of a publish, context unchanged, {client}", most, scale, *measured)
        few, many = (publish.name(ways.MQCTX, count) for count in (1, 50))
        more = added(times, many, few).median
        yield _time(f"50 values instead of 1, context unchanged, {client}", 0.2, scale, more)


def _consume(results: Results) -> Iterator[Reached]:
    for client in results.parts("consume"):
        times = results.of("consume", client)
        kind, most = ("async", 1.6) if client == "aio-pika" else ("sync", 1.2)
        chosen = _compared(client)
        base = publish.name(ways.RAW)
        scale = scale_to_there(
            times, "consume", client, publish.name(ways.usual_otel(client)), base
        )
        measured = (added(times, publish.name(way), base).median for way in chosen)
        yield _time(f"own work of a consume, {kind}, {client}", most, scale, *measured)
        for start, what, limit in (
            (consume.AGAIN, f"{kind}, the same context again", most),
            (consume.SYNC, "sync", 1.2),
        ):
            if start + ways.MQCTX in times:
                ours = added(times, start + ways.MQCTX, start + ways.RAW).median
                yield _time(f"own work of a consume, {what}, {client}", limit, scale, ours)
        without = consume.WITHOUT
        measured = (added(times, without + way, without + ways.RAW).median for way in chosen)
        yield _time(f"message without context, {client}", 0.5, scale, *measured)


def _import(results: Results) -> Iterator[Reached]:
    times = results.of("imported", "import")
    if times:
        took = median(times["mqctx"]) * 1e3
        beyond = imported.BEYOND["mqctx"]
        yield Reached(f"import mqctx beyond {beyond}", "<= 15 ms", took <= 15, f"{took:.1f} ms")


def _time(what: str, most: float, scale: float, *seconds: float) -> Reached:
    """Compare as if this machine had been as fast as the one that the target comes from."""
    ours, *others = (each * scale for each in seconds)
    texts = (f"{each:.2f} us" for each in (ours, *others))
    return Reached(what, f"<= {most} us", ours <= most, *texts)
