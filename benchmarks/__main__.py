"""Measure everything, or some of it: `make bench`, `make bench ONLY=publish QUICK=1`."""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from types import ModuleType

from benchmarks import page
from benchmarks.results import Results


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each part of a group is measured, in how many processes, how many at a time."""

    seconds: float
    quick_seconds: float
    processes: int = 1
    at_a_time: int = 1


PLANS = {
    "publish": Plan(12, 2, processes=2),
    "consume": Plan(12, 2, processes=2),
    "floor": Plan(12, 2),
    "publish_floor": Plan(12, 2),
    "throughput": Plan(60, 6, processes=2),
    "latency": Plan(40, 4),
    "memory": Plan(10, 1),
    "request": Plan(80, 6),
    "imported": Plan(25, 4),
    # Other processes change no count.
    "instructions": Plan(60, 1, at_a_time=2),
}


def main() -> None:
    """Run the groups, print their tables, and write the page if it was all of them."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", default=",".join(PLANS), help="groups, separated by commas")
    parser.add_argument("--quick", action="store_true", help="see that it works, no more")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(PLANS):
        parser.error(f"no such group: {', '.join(unknown)}; there are {', '.join(PLANS)}")
    with TemporaryDirectory() as directory:
        results = Results(_measure(chosen, Path(directory), quick=options.quick))
    complete = chosen == list(PLANS) and not options.quick
    kept = Path("build/benchmarks")
    kept.mkdir(parents=True, exist_ok=True)
    results.save(kept / "results.json")
    page.show(results, Path("docs") if complete else kept)


def _measure(groups: list[str], directory: Path, *, quick: bool) -> list[Path]:
    paths: list[Path] = []
    for group in groups:
        plan, module = PLANS[group], import_module(f"benchmarks.groups.{group}")
        seconds = plan.quick_seconds if quick else plan.seconds
        if why_not := _missing(module):
            print(f"{group}: left out, {why_not}", file=sys.stderr)
            continue
        start = perf_counter()
        jobs = [
            (group, part, seconds, directory / f"{group}-{number}-{index}.json")
            for number in range(1 if quick else plan.processes)
            for index, part in enumerate(module.PARTS)
        ]
        with ThreadPoolExecutor(plan.at_a_time) as workers:
            paths += workers.map(_run, jobs)
        print(f"{group}: {perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return paths


def _missing(module: ModuleType) -> str:
    return str(module.missing()) if hasattr(module, "missing") else ""


def _run(job: tuple[str, str, float, Path]) -> Path:
    group, part, seconds, output = job
    command = [sys.executable, "-m", "benchmarks.worker", group, part, str(seconds), str(output)]
    subprocess.run(command, check=True)
    return output


if __name__ == "__main__":
    main()
