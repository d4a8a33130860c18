"""What was measured with, and on: without any path or host name."""

import os
import subprocess
import sysconfig
from importlib import metadata
from typing import Any

from pika import BlockingConnection, URLParameters

from benchmarks.results import Results
from benchmarks.tables import Table

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
        ("load average", f"{min(loads):.1f} to {max(loads):.1f}, the measurements' own included"),
        *((name, metadata.version(name)) for name in _PACKAGES),
    ]
    return Table("Machine and versions", "As pyperf found them.", ("", ""), rows)


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
