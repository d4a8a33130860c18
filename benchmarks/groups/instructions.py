"""Instructions and allocations that a publish and a consume execute: no clock, hardly any noise.

Counted by callgrind between two numbers of messages through a real broker, so that what does
not depend on their number cancels out.
"""

import shutil
from statistics import mean

from benchmarks import ways
from benchmarks.callgrind import Counted
from benchmarks.results import Measured, Results
from benchmarks.tables import Table

ALLOCATIONS = ", allocations"
PARTS = tuple(f"{client}{what}" for client in ways.WAYS for what in ("", ALLOCATIONS))
UNIT = "integer"
FULL = 60
"""Seconds from which on it is counted thoroughly; how long that takes does not depend on them."""
PUBLISH, CONSUME = "publish", "consume"
_NOT_COMPARED = (ways.OTEL_SDK,)


def missing() -> str:
    """Return why this group cannot be measured here, if it cannot."""
    return "" if shutil.which("valgrind") and shutil.which("vgdb") else "valgrind is not installed"


def measure(part: str, seconds: float) -> Measured:
    """Count each way in turn: allocations once, they hardly vary, instructions three times."""
    client = part.removesuffix(ALLOCATIONS)
    allocations = part.endswith(ALLOCATIONS)
    brief = allocations or seconds < FULL
    few, many = (40, 120) if brief else (60, 300)
    found: dict[str, list[float]] = {}
    chosen = [way for way in (*ways.WAYS[client], ways.MQCTX_EACH) if way not in _NOT_COMPARED]
    with Counted(client, chosen, allocations=allocations) as counted:
        for _ in range(1 if brief else 3):
            for way in chosen:
                counts = {n: counted.messages(way, n) for n in (few, many)}
                for index, doing in enumerate((PUBLISH, CONSUME)):
                    slope = (counts[many][index] - counts[few][index]) / (many - few)
                    found.setdefault(f"{doing}, {way}", []).append(slope)
    return found


def total_added(results: Results, part: str, way: str) -> float:
    """Return what a way adds to a publish and a consume together, in the mean."""
    found = results.of("instructions", part)
    return sum(
        mean(found[f"{doing}, {way}"]) - mean(found[f"{doing}, {ways.RAW}"])
        for doing in (PUBLISH, CONSUME)
    )


def tables(results: Results) -> list[Table]:
    """Return what each way adds to raw, for both directions."""
    rows = []
    for part in results.parts("instructions"):
        found = results.of("instructions", part)
        start = f"{PUBLISH}, "
        chosen = [name.removeprefix(start) for name in found if name.startswith(start)]
        rows += [(part, way, *_cells(found, way)) for way in chosen]
    return [
        Table(
            "Through RabbitMQ: instructions and allocations",
            "Instructions that a message executes in the client's process, Python and all, and "
            "calls of malloc and calloc (PYTHONMALLOC=malloc): raw, and what each way adds. "
            "callgrind, mean of three slopes.",
            ("client", "way", "publish", "consume", "together"),
            rows,
        )
    ]


def _cells(found: Measured, way: str) -> tuple[str, ...]:
    published, consumed = (
        mean(found[f"{doing}, {way}"])
        - (0 if way == ways.RAW else mean(found[f"{doing}, {ways.RAW}"]))
        for doing in (PUBLISH, CONSUME)
    )
    sign = "" if way == ways.RAW else "+"
    return tuple(f"{each:{sign},.0f}" for each in (published, consumed, published + consumed))
