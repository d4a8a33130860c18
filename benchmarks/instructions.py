"""Instructions of a publish and a consume: `python -m benchmarks.instructions CLIENT MOST TIMES`.

callgrind counts what this process executes, the interpreter and all, for few and for more messages
through a real broker: the difference is what a message takes, whatever the machine.
"""

import gc
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import ways

WAYS = (ways.RAW, ways.ONE, ways.FIVE, ways.MQCTX, ways.MQCTX_EACH, ways.OTEL)
FEW = 40
_WARM_UP = 50


class _Counted:
    """A process under callgrind that publishes and consumes on demand."""

    def __init__(self, client: str, folder: Path) -> None:
        self._folder = folder
        self.process: Any = subprocess.Popen(
            [
                *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"),
                f"--callgrind-out-file={folder / 'dump'}",
                *(sys.executable, "-m", "benchmarks.instructions", client),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        self._answer()
        self._control("instrumentation", "on")

    def count(self, doing: str, number: int, way: str) -> int:
        """Return how many instructions so many messages take."""
        print(doing, number, way, file=self.process.stdin, flush=True)
        self._answer()
        self._control("dump")  # which sets the counter back to zero
        (dump,) = self._folder.glob("dump.*")
        totals = re.findall(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)
        dump.unlink()
        return sum(map(int, totals))

    def _answer(self) -> None:
        if not self.process.stdout.readline():
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def _control(self, *command: str) -> None:
        ask = ["vgdb", f"--pid={self.process.pid}", *command]
        subprocess.run(ask, check=True, capture_output=True, timeout=120)


def measure(client: str, most: int, times: int) -> dict[str, list[int]]:
    """Return the instructions of a publish and of a consume, by way."""
    with TemporaryDirectory() as folder:
        counted = _Counted(client, Path(folder))
        with counted.process:
            found = {way: _per_message(counted, way, most, times) for way in WAYS}
            counted.process.kill()
    return found


def _per_message(counted: _Counted, way: str, most: int, times: int) -> list[int]:
    slopes: list[list[float]] = []
    for _ in range(times):
        few, many = (
            [counted.count(doing, number, way) for doing in ("publish", "consume")]
            for number in (FEW, most)
        )
        slopes.append([(b - a) / (most - FEW) for a, b in zip(few, many, strict=True)])
    return [round(mean(each)) for each in zip(*slopes, strict=True)]


def _serve(client: str) -> None:
    """Publish and consume what standard input asks for."""
    with ways.sessions(client, WAYS) as sessions:
        for session in sessions.values():  # what is specialized and cached is so before it counts
            session.publish(_WARM_UP)
            session.consume(_WARM_UP)
        gc.freeze()  # or a full collection, of all that was imported, falls into some counts
        print("ready", flush=True)
        for line in sys.stdin:
            gc.collect()  # or it depends on what went before how often the collector runs
            doing, number, way = line.strip().split(" ", 2)
            getattr(sessions[way], doing)(int(number))
            print("done", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        _serve(sys.argv[1])
    else:
        print(json.dumps(measure(sys.argv[1], *map(int, sys.argv[2:]))))
