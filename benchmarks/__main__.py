"""Measure everything, or some of it: `make bench`, `make bench ONLY=log,instructions QUICK=1`."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import pyperf
from pika import BlockingConnection, URLParameters

from benchmarks import own_work, page, rows, ways

_KEPT = Path("build/benchmarks")
_AT_MOST = 480.0
"""Seconds that a client may take, in which all is well."""
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
    data: dict[str, dict[str, Any]] = {
        "measured with": _versions(),
        "own work": {row.name: _timed(row, quick=quick) for row in rows.chosen(options.only)},
        "throughput": _by_client("throughput", clients, [4 if quick else 50]),
        # Other processes change no count.
        "instructions": _by_client("instructions", clients, [80, 1] if quick else [240, 2], 2),
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


def _by_client(
    part: str, clients: dict[str, list[str]], arguments: list[int], at_a_time: int = 1
) -> dict[str, Any]:
    """Return what a script prints for each client, each in a process of its own."""
    command = ["-m", f"benchmarks.{part}"]
    with ThreadPoolExecutor(at_a_time) as workers:
        printed = workers.map(
            lambda each: _run(
                f"{part}, {each}", [*command, each, *map(str, arguments)], stdout=subprocess.PIPE
            ),
            clients[part],
        )
        return dict(zip(clients[part], map(json.loads, printed), strict=True))


def _run(what: str, command: list[str], stdout: Any) -> str:
    start = perf_counter()
    ran = subprocess.run(
        [sys.executable, *command], check=True, stdout=stdout, text=True, timeout=_AT_MOST
    )
    print(f"{what}: {perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return str(ran.stdout)


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
