"""Microseconds of our own work, beside by hand and the peers.

    python -m benchmarks.own_work --only log --quick

A machine's pace changes by more than what is measured. So the ways of a row take turns, each with
a short batch, in a new order each round; what a way adds is its time less the raw one's of the
same round. Each way has a process, forked from one that has all modules: none sees what another
has patched. Time is that of the processor.
"""

import argparse
import asyncio
import gc
import os
import random
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import repeat
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median, quantiles
from time import process_time
from typing import Any, NamedTuple

from benchmarks import instructions, ways
from benchmarks.rows import Row, chosen

Times = dict[str, list[float]]
"""Microseconds of each round, or thousands of instructions, by way."""

_fork: Any = get_context("fork")
_TIMEOUT = 60.0


class Effort(NamedTuple):
    """How much is measured: processes of each way, rounds with these, seconds of a batch."""

    passes: int
    rounds: int
    seconds: float


THOROUGH, QUICK = Effort(4, 40, 0.004), Effort(1, 60, 0.0015)


def measure(row: Row, effort: Effort) -> Times:
    """Return what each way took in each round."""
    if row.counted:
        return instructions.of_row(row)
    times: Times = {way: [] for way in row.ways}
    import_module(f"benchmarks.{row.function.split('.')[0]}")
    for _ in range(effort.passes):
        with ExitStack() as stack:
            timers = {way: stack.enter_context(forked(_serve, row, way)) for way in row.ways}
            loops = {way: _loops(timers[way], effort.seconds) for way in row.ways}
            for _ in range(effort.rounds):
                for way in random.sample(row.ways, len(row.ways)):
                    took = timers[way](loops[way])
                    times[way].append(round(took / loops[way] * 1e6, 4))
    return times


def added(times: Times, way: str) -> list[float]:
    """Return the microseconds that a way adds to the raw one: lower quartile, median, upper."""
    each = [mine - raw for mine, raw in zip(times[way], times[ways.RAW], strict=True)]
    return quantiles(each, n=4) if len(each) > 1 else each * 3


def error(quartiles: Sequence[float], rounds: int) -> float:
    """Return the error of a median at 95 %, given the quartiles of the rounds.

    It is the notch of a box plot (McGill, Tukey, Larsen 1978): medians that are apart differ.
    """
    return 1.57 * (quartiles[2] - quartiles[0]) / rounds**0.5


@contextmanager
def forked(serve: Callable[..., None], what: Any, way: str) -> Iterator[Callable[[int], Any]]:
    """Start a process for a way; give what lets it do something so often, and has its answer."""
    ours, theirs = _fork.Pipe()
    process = _fork.Process(target=serve, args=(what, way, theirs), daemon=True)
    process.start()
    theirs.close()

    def ask(times: int) -> Any:
        ours.send(times)
        if not ours.poll(_TIMEOUT):
            raise TimeoutError(f"{what}: {way} takes more than {_TIMEOUT} s")
        return ours.recv()

    yield ask
    process.kill()
    process.join()


def _loops(timer: Callable[[int], float], seconds: float) -> int:
    """Return how many calls take so long, once code is warm."""
    loops = 4
    while (took := timer(loops)) < 4 * seconds:
        loops *= 2
    return max(20, round(loops * seconds / took))


def _serve(row: Row, way: str, requests: Connection) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    call = row.set_up(way)
    asynchronous = asyncio.iscoroutinefunction(call)
    gc.collect()
    gc.freeze()
    gc.disable()  # it would fall into some batches only; what a batch leaves goes after it
    with asyncio.Runner() as runner:
        while True:
            loops = requests.recv()
            for count in (1 + loops // 10, loops):  # another process was at work meanwhile
                took = runner.run(_await(count, call)) if asynchronous else _call(count, call)
            requests.send(took)
            gc.collect()


def _call(loops: int, call: Callable[[], object]) -> float:
    start = process_time()
    for _ in repeat(None, loops):
        call()
    return process_time() - start


async def _await(loops: int, call: Callable[[], Awaitable[object]]) -> float:
    start = process_time()
    for _ in repeat(None, loops):
        await call()
    return process_time() - start


def report(row: Row, times: Times) -> None:
    """Print what each way adds, with the quartiles, and how much of that mqctx adds."""
    ours, unit = added(times, ways.MQCTX)[1], "k" if row.counted else "us"
    print(f"{row.name}: raw {median(times[ways.RAW]):.2f} {unit}")
    for way in row.ways[1:]:
        low, middle, high = added(times, way)
        print(f"  {middle:8.2f} {unit} [{low:.2f} .. {high:.2f}]  {way}", end="")
        print(f": mqctx is {ours / middle:.2f} of it" if way not in ways.OURS else "")
    if row.target:
        most = row.target.limit({way: added(times, way)[1] for way in row.ways})
        print(f"  target: at most {most:.2f} {unit}, {'met' if ours <= most else 'NOT met'}")


def main(arguments: Sequence[str]) -> None:
    """Measure the chosen rows and report each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_work")
    parser.add_argument("--only", default="", help="words in the names of rows, by commas")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: some 3 s for a row")
    parser.add_argument("--instructions", action="store_true", help="count thousands of these")
    options = parser.parse_args(arguments)
    for row in chosen(options.only):
        asked = row._replace(counted=row.counted or options.instructions)
        report(asked, measure(asked, QUICK if options.quick else THOROUGH))


if __name__ == "__main__":
    main(sys.argv[1:])
