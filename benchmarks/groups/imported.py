"""How long imports take, in new interpreters."""

import os
import random
import subprocess
import sys

from benchmarks.results import Measured, Results
from benchmarks.rounds import Spread, rounds
from benchmarks.tables import Table

PARTS = ("import",)
UNIT = "second"
BEYOND = {
    "mqctx": "msgspec",
    "mqctx.adapters.pika": "mqctx, pika",
    "mqctx.adapters.kombu": "mqctx, kombu.messaging, kombu.connection",
    "mqctx.adapters.aio_pika": "mqctx, aio_pika",
    "opentelemetry.propagate, opentelemetry.baggage": "msgspec",
    "opentelemetry.instrumentation.pika": "opentelemetry.propagate, pika",
}
"""What is imported, and what was imported before."""


def measure(part: str, seconds: float) -> Measured:
    """Import each in turn, in an interpreter of its own."""
    times: dict[str, list[float]] = {}
    order = list(BEYOND)
    for took in rounds(seconds, times):
        random.shuffle(order)
        for name in order:
            took[name] = _import(BEYOND[name], name)
    return times


def _import(before: str, name: str) -> float:
    code = (
        f"import {before}; from time import perf_counter; start = perf_counter(); import {name}; "
        "print(perf_counter() - start)"
    )
    # Compiled once, in the first round, as what is installed is.
    environ = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
    return float(ran.stdout)


def tables(results: Results) -> list[Table]:
    """Return milliseconds for each."""
    times = results.of("imported", "import")
    rows = [(n, BEYOND[n], Spread.of(times[n]).text(1e3, 1)) for n in BEYOND if n in times]
    return (
        [
            Table(
                "Import",
                "Milliseconds that an import takes beyond what was imported before: median "
                "(quartiles).",
                ("import", "beyond", "ms"),
                rows,
            )
        ]
        if rows
        else []
    )
