"""Instructions of a publish and a consume.

callgrind counts what a process executes, the interpreter and all, for few and for more messages
through a real broker: the difference is what a message takes, whatever the machine. The calls of a
row of own work are counted in the same way.
"""

import asyncio
import gc
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

from benchmarks import ways
from benchmarks.rows import ROWS, Row

WAYS = (ways.RAW, ways.ONE, ways.FIVE, ways.MQCTX, ways.MQCTX_EACH, ways.OTEL)
FEW = 40
_FEW, _MANY = 20, 120
_WARM_UP = 50
_AT_MOST = 420.0
"""Seconds that a process may live."""


class _Counted:
    """A process under callgrind that does what it is told."""

    def __init__(self, folder: Path, *what: str) -> None:
        self._folder = folder
        self.process: Any = subprocess.Popen(
            [
                *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"),
                f"--callgrind-out-file={folder / 'dump'}",
                *(sys.executable, "-m", "benchmarks.instructions", *what),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        # It ends in any case: whoever waits for its answer gets none.
        self._end = Timer(_AT_MOST, self.process.kill)
        self._end.start()
        self._answer()
        self._control("instrumentation", "on")

    def count(self, *order: object) -> int:
        """Return how many instructions an order takes."""
        print(*order, file=self.process.stdin, flush=True)
        self._answer()
        self._control("dump")  # which sets the counter back to zero
        (dump,) = self._folder.glob("dump.*")
        totals = re.findall(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)
        dump.unlink()
        return sum(map(int, totals))

    def close(self) -> None:
        """End it."""
        self._end.cancel()
        self.process.kill()

    def _answer(self) -> None:
        if not self.process.stdout.readline():
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def _control(self, *command: str) -> None:
        ask = ["vgdb", f"--pid={self.process.pid}", *command]
        subprocess.run(ask, check=True, capture_output=True, timeout=120)


@contextmanager
def _counted(*what: str) -> Iterator[_Counted]:
    with TemporaryDirectory() as folder:
        counted = _Counted(Path(folder), *what)
        with counted.process:
            try:
                yield counted
            finally:
                counted.close()


def of_row(row: Row) -> dict[str, list[float]]:
    """Return the thousands of instructions that a call takes in each way."""

    def count(way: str) -> list[float]:
        with _counted(row.name, way) as counted:
            # The first count has what is done once, too.
            _, few, many = (counted.count(number) for number in (_FEW, _FEW, _MANY))
        return [round((many - few) / (_MANY - _FEW) / 1000, 2)]

    with ThreadPoolExecutor(2) as workers:
        return dict(zip(row.ways, workers.map(count, row.ways), strict=True))


def measure(client: str, most: int, times: int) -> dict[str, list[int]]:
    """Return the instructions of a publish and of a consume, by way."""
    with _counted(client) as counted:
        return {way: _per_message(counted, way, most, times) for way in WAYS}


def _per_message(counted: _Counted, way: str, most: int, times: int) -> list[int]:
    slopes: list[list[float]] = []
    for _ in range(times):
        few, many = (
            [counted.count(doing, number, way) for doing in ("publish", "consume")]
            for number in (FEW, most)
        )
        slopes.append([(b - a) / (most - FEW) for a, b in zip(few, many, strict=True)])
    return [round(mean(each)) for each in zip(*slopes, strict=True)]


def _serve_client(client: str) -> None:
    """Publish and consume what is ordered."""
    with ways.sessions(client, WAYS) as sessions:

        def obey(doing: str, number: str, way: str) -> None:
            getattr(sessions[way], doing)(int(number))

        for way in sessions:
            obey("publish", str(_WARM_UP), way)
            obey("consume", str(_WARM_UP), way)
        _serve(obey)


def _serve_row(name: str, way: str) -> None:
    """Call what is measured as often as is ordered."""
    row = next(each for each in ROWS if each.name == name)
    call = row.set_up(way)

    async def awaited(number: int) -> None:
        for _ in repeat(None, number):
            await call()

    with asyncio.Runner() as runner:

        def obey(number: str) -> None:
            if asyncio.iscoroutinefunction(call):
                runner.run(awaited(int(number)))
            else:
                for _ in repeat(None, int(number)):
                    call()

        obey(str(_WARM_UP))  # what is specialized and cached is so before it counts
        _serve(obey)


def _serve(obey: Callable[..., None]) -> None:
    gc.freeze()  # or a full collection, of all that was imported, falls into some counts
    print("ready", flush=True)
    for line in sys.stdin:
        gc.collect()  # or it depends on what went before how often the collector runs
        obey(*line.strip().split(" ", 2))
        print("done", flush=True)


if __name__ == "__main__":
    (_serve_client if len(sys.argv) == 2 else _serve_row)(*sys.argv[1:])
