"""The page that comes of the results."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from benchmarks import machine, plot, targets
from benchmarks.results import Results
from benchmarks.tables import Table

_ORDER = (
    *("instructions", "throughput", "latency", "publish", "publish_floor"),
    *("consume", "floor", "request", "memory", "imported"),
)
_HEAD = """\
# Benchmarks

<!-- `make bench` writes this page. -->

What carrying a context costs: nothing at all (the raw client), five headers by hand, mqctx, and
OpenTelemetry (W3C trace context and baggage of the same five values; by hand, which is its bare
inject and extract, and by its instrumentation, which makes spans too). `make bench` measures it
anew; [how](../benchmarks/README.md).

![What mqctx adds, beside five headers by hand and OpenTelemetry](benchmarks.svg)
"""


def show(results: Results, folder: Path) -> None:
    """Print all tables, and write them, the picture and pyperf's file to a folder."""
    tables = list(_tables(results))
    for table in tables:
        print(table.text())
    folder.mkdir(parents=True, exist_ok=True)
    sections = [_HEAD, *(table.markdown() for table in tables)]
    (folder / "benchmarks.md").write_text("\n\n".join(map(str.strip, sections)) + "\n")
    plot.draw(results, folder / "benchmarks.svg")


def _tables(results: Results) -> Iterator[Table]:
    candidates = [targets.table(results)]
    for group in _ORDER:
        candidates += import_module(f"benchmarks.groups.{group}").tables(results)
    yield from (table for table in candidates if table.rows)
    yield machine.table(results)
