"""Measure everything, or some of it: `make bench`, `make bench ONLY=log,instructions QUICK=1`."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import pyperf
from pika import BlockingConnection, URLParameters

from benchmarks import instructions, own_work, page, rows, throughput, ways

_KEPT = Path("build/benchmarks")
_PACKAGES = (
    *("mqctx", "pika", "kombu", "aio-pika", "asgi-correlation-id", "starlette-context"),
    *("opentelemetry-api", "opentelemetry-instrumentation", "structlog", "loguru", "httpx"),
    *("requests", "aiohttp", "flask", "django", "celery", "dramatiq", "taskiq", "faststream"),
    "sentry-sdk",
)


def main() -> None:
    """Write the page to `docs` if all was measured, else to `build/benchmarks`."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", default="", help="words of what is measured, by commas")
    parser.add_argument("--quick", action="store_true", help="see that it works, no more")
    options = parser.parse_args()
    words, quick = options.only.split(","), options.quick
    clients = {
        part: [each for each in ways.CLIENTS if any(word in f"{part}, {each}" for word in words)]
        for part in ("throughput", "instructions")
    }
    if not shutil.which("vgdb"):
        print("instructions: left out, valgrind is not installed", file=sys.stderr)
        clients["instructions"] = []
    _KEPT.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as workers:  # other processes change no count
        counts = workers.map(partial(_counted, quick=quick), clients["instructions"])
        counted = dict(zip(clients["instructions"], counts, strict=True))
    data: dict[str, dict[str, Any]] = {
        "measured with": _versions(),
        "own work": {row.name: _timed(row, quick=quick) for row in rows.chosen(options.only)},
        "throughput": {
            each: throughput.measure(each, 4 if quick else 60) for each in clients["throughput"]
        },
        "instructions": counted,
    }
    everything = data["instructions"] and all(data["own work"].values())
    complete = everything and not options.only and not quick
    page.write(data, Path("docs") if complete else _KEPT)


def _timed(row: rows.Row, *, quick: bool) -> own_work.Times:
    """Return what a row takes; nothing if it fails, so that all others are measured still."""
    try:
        times = own_work.measure(row, own_work.QUICK if quick else own_work.THOROUGH)
    except (OSError, EOFError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"{row.name}: {error!r}", file=sys.stderr)
        return {}
    own_work.report(row, times)
    return times


def _counted(client: str, *, quick: bool) -> dict[str, list[int]]:
    start = perf_counter()
    counts = instructions.measure(client, *((80, 1) if quick else (240, 2)))
    print(f"instructions, {client}: {perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return counts


def _versions() -> dict[str, str]:
    known = pyperf.Run([1.0]).get_metadata()
    with BlockingConnection(URLParameters(os.environ["MQCTX_BROKER_URL"])) as connection:
        properties: Any = connection._impl.server_properties
    return {
        "CPython": platform.python_version(),
        "on": f"{known['cpu_count']} CPUs, {known.get('cpu_model_name', 'of an unknown model')}",
        "RabbitMQ": str(properties["version"]),
        **{name: version(name) for name in _PACKAGES},
    }


if __name__ == "__main__":
    main()
