"""From a publish to the handler, at a rate far below what the machine can do."""

import multiprocessing
import random
import struct
import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import ways
from benchmarks.results import Measured, Results
from benchmarks.rounds import Spread, percentile, rounds
from benchmarks.sessions import opened, session
from benchmarks.tables import Table

PARTS = tuple(ways.WAYS)
UNIT = "second"
RATE = 500
MESSAGES = 500
_WARM_UP = 25
P50, P99 = "p50, ", "p99, "


def measure(part: str, seconds: float) -> Measured:
    """Publish from here and consume in another process, each way a second at a time."""
    spawn = multiprocessing.get_context("spawn")
    found: dict[str, list[float]] = {}
    order = [ways.RAW, ways.MQCTX, ways.usual_otel(part)]
    with opened(part, order) as sessions:
        here, there = spawn.Pipe()
        queues = {way: session.queue for way, session in sessions.items()}
        consumer = spawn.Process(target=_consume, args=(part, queues, there), daemon=True)
        consumer.start()
        for took in rounds(seconds, found):
            random.shuffle(order)
            for way in order:
                here.send(way)
                here.recv()
                sessions[way].publish(MESSAGES, ways.values(5), RATE, _stamp)
                latencies = here.recv()[_WARM_UP:]
                took[P50 + way] = percentile(latencies, 50)
                took[P99 + way] = percentile(latencies, 99)
        here.send("")
        consumer.join()
    return found


def _stamp() -> bytes:
    return struct.pack("d", time.perf_counter()).ljust(256)  # one clock for both processes


def _consume(part: str, queues: dict[str, str], parent: "Connection[Any, Any]") -> None:
    sessions = {way: session(part, way, queue=name) for way, name in queues.items()}
    while way := parent.recv():
        latencies: list[float] = []

        def seen(body: bytes, latencies: list[float] = latencies) -> None:
            latencies.append(time.perf_counter() - struct.unpack_from("d", body)[0])

        parent.send("listening")
        sessions[way].consume(MESSAGES, seen)
        parent.send(latencies)
    for each in sessions.values():
        each.close()


def tables(results: Results) -> list[Table]:
    """Return both percentiles of each way."""
    rows = []
    for part in results.parts("latency"):
        found = results.of("latency", part)
        for way in (ways.RAW, ways.MQCTX, ways.usual_otel(part)):
            cells = [Spread.of(found[each + way]).text(1e6, 0) for each in (P50, P99)]
            rows.append((part, way, *cells))
    return [
        Table(
            "Through RabbitMQ: latency",
            f"Microseconds from before the publish to the handler, in another process, at a steady "
            f"{RATE} messages per second: percentiles of each second, median (quartiles) over the "
            "seconds. A p99 on a shared machine is mostly the machine's.",
            ("client", "way", "p50", "p99"),
            rows,
        )
    ]
