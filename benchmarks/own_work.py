"""Microseconds of our own work, beside by hand and the peers: a script of pyperf's.

    python -m benchmarks.own_work --only log --fast
    python -m benchmarks.own_work -o before.json; ...; python -m pyperf compare_to before.json ...

It takes pyperf's options. What a way adds is its time less that of the raw row.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from importlib import import_module
from itertools import repeat
from time import perf_counter
from typing import Any, NamedTuple

import pyperf

from benchmarks import ways


class Row(NamedTuple):
    """What is measured, the function that sets it up, and the ways in which it is done."""

    name: str
    function: str
    ways: tuple[str, ...]
    arguments: tuple[str, ...] = ()


_QUEUE = (ways.RAW, ways.FIVE, ways.MQCTX, ways.OTEL)
_EDGE = (ways.RAW, ways.BY_HAND, ways.MQCTX)
ROWS = (
    *(Row(f"publish, {each}", "core.publish", _QUEUE, (each,)) for each in ways.CLIENTS),
    *(Row(f"consume, {each}", "core.consume", _QUEUE, (each,)) for each in ways.CLIENTS),
    Row("a scope of two values", "core.scope", (*_EDGE, ways.OTEL)),
    Row("`Variable.get`", "core.get", (*_EDGE, ways.OTEL)),
    Row("web request, an id in and out", "web.request_id", (*_EDGE, ways.CORRELATION_ID)),
    Row(
        "web request, defaults",
        "web.defaults",
        (ways.RAW, ways.MQCTX, ways.STARLETTE_CONTEXT, ways.OTEL),
    ),
    Row("log line, logging", "logs.standard", _EDGE),
    Row("log line, structlog", "logs.structured", (*_EDGE, ways.MERGE)),
    Row("log line, loguru", "logs.with_loguru", (*_EDGE, ways.CONTEXTUALIZE)),
    Row("call out, httpx", "calls.with_httpx", (*_EDGE, ways.OTEL)),
)


@functools.cache
def _set_up(row: Row, way: str) -> Callable[[], Any]:
    # Imported only where it is measured: each process of pyperf's measures one thing.
    module, name = row.function.split(".")
    call: Callable[[], Any] = getattr(import_module(f"benchmarks.{module}"), name)(
        way, *row.arguments
    )
    return call


def _time(loops: int, row: Row, way: str) -> float:
    call = _set_up(row, way)
    if asyncio.iscoroutinefunction(call):
        return asyncio.run(_time_awaited(loops, call))
    start = perf_counter()
    for _ in repeat(None, loops):
        call()
    return perf_counter() - start


async def _time_awaited(loops: int, call: Callable[[], Awaitable[object]]) -> float:
    start = perf_counter()
    for _ in repeat(None, loops):
        await call()
    return perf_counter() - start


def main() -> None:
    """Measure all rows, or those whose names contain a word of `--only`."""

    def pass_on(command: list[str], options: Any) -> None:
        command += ("--only", options.only)

    runner = pyperf.Runner(program_args=("-m", "benchmarks.own_work"), add_cmdline_args=pass_on)
    runner.argparser.add_argument("--only", default="", help="words, separated by commas")
    words = runner.parse_args().only.split(",")
    for row in ROWS:
        if any(word in row.name for word in words):
            for way in row.ways:
                runner.bench_time_func(f"{row.name}: {way}", _time, row, way)


if __name__ == "__main__":
    main()
