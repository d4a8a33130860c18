"""Messages per second through a real broker, publishing alone and consuming alone."""

import os
import random
from collections.abc import Iterator
from statistics import mean
from time import perf_counter, process_time

from benchmarks import ways
from benchmarks.groups import instructions
from benchmarks.results import Measured, Results
from benchmarks.rounds import Spread, added, ratio, rounds
from benchmarks.sessions import opened
from benchmarks.tables import Row, Table
from benchmarks.traffic import Session

CONFIRMS = " with confirms"
PARTS = tuple(f"{client}{confirms}" for client in ways.WAYS for confirms in ("", CONFIRMS))
UNIT = "second"
MESSAGES = 200
"""So many in turn: enough to outlast a socket's buffers, few enough to share a phase."""
PUBLISHING, CONSUMING = "publishing, ", "consuming, "
CPU = "CPU, "
_EXPLAINED = (ways.ONE, ways.MQCTX)


def measure(part: str, seconds: float) -> Measured:
    """Let the ways take turns, each with so many messages, on connections of their own."""
    client = part.removesuffix(CONFIRMS)
    confirms = part.endswith(CONFIRMS)
    compared = _compared(client)
    os.sched_setaffinity(0, {0})  # the broker has another CPU, where there is one
    times: dict[str, list[float]] = {}
    with opened(client, compared, confirms=confirms) as sessions:
        for took in rounds(seconds / 3 if confirms else seconds, times):
            for way in random.sample(compared, len(compared)):
                for doing, each in _take_turn(sessions[way], confirms=confirms).items():
                    took[doing + way] = each / MESSAGES
    return times


def _compared(client: str) -> tuple[str, ...]:
    return ways.RAW, ways.ONE, ways.FIVE, ways.MQCTX, ways.usual_otel(client)


def _take_turn(session: Session, *, confirms: bool) -> dict[str, float]:
    cpu = process_time()
    start = perf_counter()
    session.publish(MESSAGES, ways.values(5))
    took = {PUBLISHING: perf_counter() - start, CPU + PUBLISHING: process_time() - cpu}
    if confirms:  # which are the publisher's only
        session.purge()
        return took
    cpu = process_time()
    return took | {CONSUMING: session.consume(MESSAGES), CPU + CONSUMING: process_time() - cpu}


def tables(results: Results) -> list[Table]:
    """Return messages per second, and each way's share of the raw client's."""
    rows = []
    for part in results.parts("throughput"):
        times = results.of("throughput", part)
        for doing in (PUBLISHING, CONSUMING):
            rows += [
                (part, doing[:-2], way, *_cells(times, doing, way))
                for way in _compared(part.removesuffix(CONFIRMS))
                if doing + way in times
            ]
    return [
        Table(
            "Through RabbitMQ: throughput",
            f"Messages of 256 bytes per second for the raw client, and the share of it that is "
            f"left in each way: ratios of neighbouring batches of {MESSAGES} messages, median "
            f"(quartiles). Handlers acknowledge each message; with confirms, each publish waits. "
            f"CPU: microseconds of the client's process for a message, and what each way adds.",
            ("client", "", "way", "messages, or share", "CPU"),
            rows,
        ),
        Table(
            "Through RabbitMQ: what the instructions leave",
            "The share of the raw throughput that would be left if a message took as much longer "
            "as it takes more instructions, and the share that was measured. One constant header "
            "is the client's own work, encoding and decoding, and the longer frame: no more than "
            "what it leaves can be left by anybody who sends one.",
            ("client", "", *(f"{way}{what}" for way in _EXPLAINED for what in ("", ", measured"))),
            list(_left(results)),
        ),
    ]


def _left(results: Results) -> Iterator[Row]:
    for client in ways.WAYS:
        counts, times = results.of("instructions", client), results.of("throughput", client)
        if not counts or not times:
            continue
        for counted, doing in (
            (instructions.PUBLISH, PUBLISHING),
            (instructions.CONSUME, CONSUMING),
        ):
            raw = mean(counts[f"{counted}, {ways.RAW}"])
            cells: list[str] = []
            for way in _EXPLAINED:
                measured = ratio(times, doing + way, doing + ways.RAW).median
                cells += (f"{raw / mean(counts[f'{counted}, {way}']):.3f}", f"{measured:.2f}")
            yield client, doing[:-2], *cells


def _cells(times: Measured, doing: str, way: str) -> tuple[str, str]:
    if way == ways.RAW:
        rate = 1 / Spread.of(times[doing + way]).median
        return f"{rate:,.0f} per second", Spread.of(times[CPU + doing + way]).text(1e6, 0)
    cpu = CPU + doing
    more = added(times, cpu + way, cpu + ways.RAW).text(1e6, 0, sign="+")
    return ratio(times, doing + way, doing + ways.RAW).text(1), more
