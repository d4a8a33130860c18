"""Time variants in turn, so that what the machine does meanwhile happens to all of them.

A shared machine has quiet and busy phases that differ by more than what is measured here. So
every round times each variant once, shortly one after the other and in a new order, and what is
compared is what happened in the same round. The rounds count from which the machine's other guests
took least: what they take, they take from one variant more than from another.
"""

import asyncio
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any, TypeAlias

Items: TypeAlias = Sequence[tuple[Any, ...]]
Times: TypeAlias = Mapping[str, Sequence[float]]
"""Seconds per call, by variant, one of each round."""


BATCH = 25
"""How many calls are timed together: shorter than a slice of time on a busy machine."""
_WARM_UP = 10
"""How many calls go before them, untimed: what ran last may have been another variant."""
_STAT = Path("/proc/stat")
_LEAST = 4
"""How many rounds there are, however long they take: two of them count at least."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to do something: `call` is timed with each of the items, inside `block`."""

    call: Callable[..., Any]
    items: Callable[[int], Items]
    block: Callable[[], AbstractContextManager[object]]
    awaited: bool = False


def time_in_turn(variants: Mapping[str, Variant], seconds: float) -> Times:
    """Return seconds per call of each variant, in as many rounds as fit in so many seconds."""
    times: dict[str, list[float]] = {}
    order = list(variants)
    with asyncio.Runner() as runner:
        for took in rounds(seconds, times):
            random.shuffle(order)
            for name in order:
                took[name] = _time(variants[name], runner) / BATCH
    return times


def rounds(seconds: float, times: dict[str, list[float]]) -> Iterator[dict[str, float]]:
    """Yield, for so many seconds, a round to fill with what was measured, by name.

    In the end, `times` gets the rounds that count: but for the first, which only warms up, the
    half from which other guests of the machine took the least of its CPUs.
    """
    done: list[tuple[float, dict[str, float]]] = []
    deadline = perf_counter() + seconds
    while len(done) < _LEAST or perf_counter() < deadline:
        start, stolen = perf_counter(), _stolen()
        took: dict[str, float] = {}
        yield took
        done.append(((_stolen() - stolen) / (perf_counter() - start), took))
    most = median(share for share, _ in done[1:])
    for share, took in done[1:]:
        if share <= most:
            for name, value in took.items():
                times.setdefault(name, []).append(value)


def _stolen() -> float:
    """Return the seconds for which CPUs were wanted here and given to other guests."""
    if not _STAT.exists():  # it is Linux that tells
        return 0
    total, _ = _STAT.read_text().split("\n", 1)
    return int(total.split()[8]) / os.sysconf("SC_CLK_TCK")


def _time(variant: Variant, runner: asyncio.Runner) -> float:
    first, items = variant.items(_WARM_UP), variant.items(BATCH)
    if variant.awaited:
        return runner.run(_time_awaited(variant, first, items))
    with variant.block():
        return _time_called(variant.call, first, items)


def _time_called(call: Callable[..., Any], first: Items, items: Items) -> float:
    for item in first:
        call(*item)
    start = perf_counter()
    for item in items:
        call(*item)
    return perf_counter() - start


async def _time_awaited(variant: Variant, first: Items, items: Items) -> float:
    call = variant.call
    with variant.block():
        for item in first:
            await call(*item)
        start = perf_counter()
        for item in items:
            await call(*item)
        return perf_counter() - start


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and the quartiles around it."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarize at least two values."""
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(low, median(values), high)

    def text(self, scale: float, digits: int = 2, sign: str = "") -> str:
        """Return median and quartiles in another unit, with `sign="+"` a plus sign too."""
        form = f"{sign}.{digits}f"
        low, middle, high = (scale * each for each in (self.low, self.median, self.high))
        return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def added(times: Times, variant: str, base: str) -> Spread:
    """Return the seconds that a variant adds to another one, round by round."""
    pairs = zip(times[variant], times[base], strict=True)
    return Spread.of([mine - other for mine, other in pairs])


def ratio(times: Times, variant: str, base: str) -> Spread:
    """Return how often a variant is done in the time of another one, round by round."""
    pairs = zip(times[base], times[variant], strict=True)
    return Spread.of([other / mine for other, mine in pairs])


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
