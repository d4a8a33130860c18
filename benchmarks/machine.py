"""What was measured with, and on: without any path or host name."""

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from typing import Any

from pika import BlockingConnection, URLParameters

from benchmarks.own_work import YARDS, YARDSTICK
from benchmarks.results import Results
from benchmarks.rounds import Spread
from benchmarks.tables import Row, Table

_PACKAGES = (
    *("mqctx", "msgspec", "pika", "kombu", "amqp", "aio-pika", "aiormq", "pamqp"),
    *("opentelemetry-api", "opentelemetry-instrumentation-pika", "uvicorn", "pyperf"),
)


def table(results: Results) -> Table:
    """Return versions, and what pyperf knows of the machine."""
    known = results.machine()
    optimized = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    loads = results.loads()
    rows = [
        ("CPU", f"{known.get('cpu_model_name', 'unknown')}, {known['cpu_count']} cores"),
        ("system", str(known["platform"])),
        ("Python", f"{known['python_version']}{', optimized build' if optimized else ''}"),
        ("RabbitMQ", _rabbitmq()),
        ("valgrind", _valgrind()),
        *_tempo(results),
        ("load average", f"{min(loads):.1f} to {max(loads):.1f}, the measurements' own included"),
        *((name, metadata.version(name)) for name in _PACKAGES),
    ]
    return Table("Machine and versions", "As pyperf found them.", ("", ""), rows)


def _tempo(results: Results) -> Iterator[Row]:
    """Tell how fast this machine was: the targets in microseconds come from one with 39 ns."""
    times = [results.of("publish", part)[YARDSTICK] for part in results.parts("publish")]
    if times:
        tempo = Spread.of(list(chain.from_iterable(times))).text(1e9 / YARDS, 0)
        yield "yardstick", f"a dict of five copied in {tempo} ns; 39 where the targets come from"


def _rabbitmq() -> str:
    with BlockingConnection(URLParameters(os.environ["MQCTX_BROKER_URL"])) as connection:
        properties: Any = connection._impl.server_properties
        return str(properties["version"])


def _valgrind() -> str:
    try:
        told = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        return "none: instructions and allocations were not counted"
    return told.stdout.strip().removeprefix("valgrind-")
