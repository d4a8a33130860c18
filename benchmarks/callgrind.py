"""Count a client's instructions, or allocations, under valgrind's callgrind."""

import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO, cast

from benchmarks import ways
from benchmarks.sessions import opened

_ALLOCATORS = ("malloc", "calloc")
_WARM_UP = 50


class Counted:
    """A process under callgrind that publishes and consumes on demand."""

    def __init__(self, client: str, chosen: Iterable[str], *, allocations: bool) -> None:
        """Count calls of the C library's allocators with `allocations`, else instructions."""
        self._directory = TemporaryDirectory()
        self._dumps = Path(self._directory.name)
        self._allocations = allocations
        environ = {**os.environ, "PYTHONHASHSEED": "0"}
        if allocations:
            environ["PYTHONMALLOC"] = "malloc"
        self._process = subprocess.Popen(
            [
                *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"),
                f"--callgrind-out-file={self._dumps / 'dump'}",
                *(sys.executable, "-m", "benchmarks.callgrind", client, *chosen),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )

    def __enter__(self) -> "Counted":
        self._answer()
        self._control("instrumentation", "on")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._directory.cleanup()

    def messages(self, way: str, count: int) -> tuple[int, int]:
        """Return what is counted while so many messages are published, and then consumed."""
        return self._count(f"publish {count} {way}"), self._count(f"consume {count} {way}")

    def _count(self, command: str) -> int:
        requests = cast("IO[str]", self._process.stdin)
        print(command, file=requests, flush=True)
        self._answer()
        self._control("dump")  # which sets the counters back to zero
        (dump,) = self._dumps.glob("dump.*")
        text = dump.read_text()
        dump.unlink()
        return _allocations(text) if self._allocations else _instructions(text)

    def _answer(self) -> None:
        if not cast("IO[str]", self._process.stdout).readline():
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")

    def _control(self, *command: str) -> None:
        ask = ["vgdb", f"--pid={self._process.pid}", *command]
        subprocess.run(ask, check=True, capture_output=True, timeout=120)


def _instructions(dump: str) -> int:
    return sum(int(total) for total in re.findall(r"^totals: (\d+)", dump, re.MULTILINE))


def _allocations(dump: str) -> int:
    """Sum the calls of allocators: each is named once, with a number that stands for it later."""
    names = dict(re.findall(r"^c?fn=\((\d+)\) (\S+)", dump, re.MULTILINE))
    calls = re.findall(r"^cfn=\((\d+)\).*\ncalls=(\d+)", dump, re.MULTILINE)
    return sum(int(count) for number, count in calls if names.get(number) in _ALLOCATORS)


def _serve(client: str, *chosen: str) -> None:
    """Publish and consume what standard input asks for."""
    with opened(client, chosen) as sessions:
        for each in sessions.values():  # what is specialized and cached is so before it counts
            each.publish(_WARM_UP, ways.values(5))
            each.consume(_WARM_UP)
        gc.freeze()  # or a full collection, of all that was imported, falls into some counts
        print("ready", flush=True)
        for line in sys.stdin:
            gc.collect()  # or it depends on what went before how often the collector runs
            doing, count, way = line.strip().split(" ", 2)
            if doing == "publish":
                sessions[way].publish(int(count), ways.values(5))
            else:
                sessions[way].consume(int(count))
            print("done", flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
