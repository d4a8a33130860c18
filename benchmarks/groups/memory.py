"""What a publish and a consume allocate at most at a time, and what stays: nothing."""

import asyncio
import gc
import sys
import tracemalloc
from statistics import median
from typing import Any

from benchmarks import ways
from benchmarks.own_work import CLIENTS, consuming, publishing
from benchmarks.results import Measured, Results
from benchmarks.rounds import Variant
from benchmarks.tables import Table

PARTS = tuple(CLIENTS)
UNIT = "byte"
CALLS = 200
MESSAGES = 200_000
PUBLISH, CONSUME = "publish, ", "consume, "
BEFORE, AFTER, COUNT = "blocks before", "blocks after", "messages"


def measure(part: str, seconds: float) -> Measured:
    """Trace single calls in each way; then publish and consume very many messages in ours."""
    client = CLIENTS[part]
    found: dict[str, list[float]] = {}
    with asyncio.Runner() as runner:
        for way in ways.WAYS[part]:
            found[PUBLISH + way] = _peaks(publishing(client, way), runner)
            found[CONSUME + way] = _peaks(consuming(client, way), runner)
        messages = MESSAGES if seconds > 5 else MESSAGES // 20
        found.update(_growth(part, messages, runner))
    return found


def _peaks(variant: Variant, runner: asyncio.Runner) -> list[float]:
    async def trace() -> list[float]:
        with variant.block():
            return [await _peak(variant, item) for item in variant.items(2 * CALLS)][CALLS:]

    tracemalloc.start()
    try:
        return runner.run(trace())
    finally:
        tracemalloc.stop()
        gc.collect()


async def _peak(variant: Variant, item: tuple[Any, ...]) -> float:
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    result = variant.call(*item)
    if variant.awaited:
        await result
    _, peak = tracemalloc.get_traced_memory()
    return max(1, peak - before)


def _growth(part: str, messages: int, runner: asyncio.Runner) -> dict[str, list[float]]:
    variants = [make(CLIENTS[part], ways.MQCTX) for make in (publishing, consuming)]
    found: dict[str, list[float]] = {COUNT: [messages]}
    for moment, count in ((BEFORE, messages // 10), (AFTER, messages)):
        runner.run(_repeat(variants, count))
        gc.collect()
        found[moment] = [sys.getallocatedblocks()]
    return found


async def _repeat(variants: list[Variant], messages: int) -> None:
    for variant in variants:
        with variant.block():
            for _ in range(messages // 100):
                for item in variant.items(100):
                    result = variant.call(*item)
                    if variant.awaited:
                        await result


def tables(results: Results) -> list[Table]:
    """Return the peaks beyond the raw client's, and what stayed."""
    peaks, growth = [], []
    for part in results.parts("memory"):
        found = results.of("memory", part)
        for way in ways.WAYS[part]:
            cells = [f"{median(found[each + way]):,.0f}" for each in (PUBLISH, CONSUME)]
            peaks.append((part, way, *cells))
        growth.append((part, *(f"{median(found[each]):,.0f}" for each in (COUNT, BEFORE, AFTER))))
    return [
        Table(
            "Memory: at a time",
            "Bytes that a call allocates beyond what it frees, at its peak (tracemalloc), "
            "without the client's codec: medians.",
            ("client", "way", "publish", "consume"),
            peaks,
        ),
        Table(
            "Memory: growth",
            "Blocks that the interpreter has allocated, before and after mqctx published and "
            "consumed so many messages.",
            ("client", "messages", "before", "after"),
            growth,
        ),
    ]
