"""What was measured: kept by pyperf, which knows units, machines and how to write JSON."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyperf

Measured: TypeAlias = Mapping[str, Sequence[float]]
"""Values by the name of what they were measured of. Where they are compared, in rounds."""


def save(path: Path, group: str, part: str, unit: str, measured: Measured) -> None:
    """Write what one process measured."""
    machine = pyperf.Run([1.0]).get_metadata()
    benchmarks = []
    for name, values in measured.items():
        metadata = {**machine, "name": _key(group, part, name), "unit": unit}
        run = pyperf.Run(values, metadata=metadata, collect_metadata=False)
        benchmarks.append(pyperf.Benchmark([run]))
    pyperf.BenchmarkSuite(benchmarks).dump(str(path))


class Results:
    """What all processes measured."""

    def __init__(self, paths: Iterable[Path]) -> None:
        runs: dict[str, list[Any]] = {}
        for path in paths:
            for benchmark in pyperf.BenchmarkSuite.load(str(path)):
                runs.setdefault(benchmark.get_name(), []).extend(benchmark.get_runs())
        self._benchmarks = {name: pyperf.Benchmark(some) for name, some in runs.items()}

    def save(self, path: Path) -> None:
        """Write all of it, for `python -m pyperf show` and `compare_to`."""
        pyperf.BenchmarkSuite(list(self._benchmarks.values())).dump(str(path), replace=True)

    def parts(self, group: str) -> list[str]:
        """Return the parts of a group that were measured."""
        keys = (key.split(": ") for key in self._benchmarks)
        return list(dict.fromkeys(part for its, part, _ in keys if its == group))

    def of(self, group: str, part: str) -> Measured:
        """Return what was measured of a part, empty if nothing was."""
        start = _key(group, part, "")
        return {
            key.removeprefix(start): benchmark.get_values()
            for key, benchmark in self._benchmarks.items()
            if key.startswith(start)
        }

    def loads(self) -> list[float]:
        """Return the machine's load averages when each process had measured."""
        runs = itertools.chain.from_iterable(each.get_runs() for each in self._benchmarks.values())
        return [run.get_metadata()["load_avg_1min"] for run in runs]

    def machine(self) -> Mapping[str, object]:
        """Return pyperf's metadata that all measurements have in common."""
        common: Mapping[str, object] = pyperf.BenchmarkSuite(
            list(self._benchmarks.values())
        ).get_metadata()
        return common


def _key(group: str, part: str, name: str) -> str:
    return f"{group}: {part}: {name}"
