"""The rows of own work: what is measured, in which ways, and what mqctx may add.

A row's function sets one way up, in a process of its own, and returns what is called again and
again: `logs.standard` is `standard` in `benchmarks/logs.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from benchmarks import ways


class Target(NamedTuple):
    """The most that mqctx may add: so many times what another way adds, and microseconds more."""

    of: str
    """A way, or `ways.PEERS`, the cheapest of the peers. With no times, the origin of `more`."""
    times: float = 1.0
    more: float = 0.0

    def limit(self, added: Mapping[str, float]) -> float:
        """Return the most microseconds, given those of each way."""
        if not self.times:
            return self.more
        of = peers(added) if self.of == ways.PEERS else [self.of]
        return self.times * min(added[way] for way in of) + self.more

    def __str__(self) -> str:
        """Say it in a cell of a table."""
        if not self.times:
            return f"{self.more:g}, {self.of}"
        more = f" and {self.more:.2f} µs" if self.more else ""
        return f"{self.times:g} of {self.of}{more}"


def peers(chosen_ways: Iterable[str]) -> list[str]:
    """Return those that are other libraries."""
    return [way for way in chosen_ways if way not in ways.NO_PEERS]


class Row(NamedTuple):
    """A thing to measure, the function that sets it up, and the ways of doing it."""

    name: str
    function: str
    ways: tuple[str, ...]
    target: Target | None = None
    arguments: tuple[str, ...] = ()
    counted: bool = False
    """Whether thousands of instructions are counted, instead of microseconds."""

    def set_up(self, way: str) -> Callable[[], Any]:
        """Return what is called in this way, a function or an `async def`."""
        module, name = self.function.split(".")
        make: Callable[..., Any] = getattr(import_module(f"benchmarks.{module}"), name)
        call: Callable[[], Any] = make(way, *self.arguments)
        return call


_ID, _MERGE, _LOGURU = ways.CORRELATION_ID, ways.MERGE, ways.CONTEXTUALIZE
_QUEUE = (ways.RAW, ways.FIVE, ways.MQCTX, ways.OTEL)
_OURS = (ways.RAW, ways.MQCTX, ways.MIXED)
_ONE = (ways.RAW, ways.BY_HAND, ways.MQCTX)
_FIVE = (*_ONE, ways.MIXED)
_CALL = (*_FIVE, ways.OTEL, ways.SENTRY)
_SENTRY = (*_OURS, ways.SENTRY)
_TASK = (*_SENTRY, ways.OTEL)
_WEB = (ways.RAW, ways.MQCTX, ways.OTEL, ways.SENTRY)
ROWS = (
    Row("ASGI request, an id in and out", "web.request_id", (*_FIVE, _ID), Target(_ID, 1.2)),
    Row(
        "ASGI request, defaults",
        "web.defaults",
        (*_OURS, ways.STARLETTE_CONTEXT, ways.OTEL, ways.SENTRY),
        Target(ways.STARLETTE_CONTEXT, 0.6),
    ),
    Row("log line, logging", "logs.standard", _FIVE, Target(ways.BY_HAND, 1.3)),
    Row("log line, structlog", "logs.structured", (*_FIVE, _MERGE), Target(_MERGE, 0.55)),
    Row("log line, loguru", "logs.with_loguru", (*_FIVE, _LOGURU), Target(_LOGURU, 1.75)),
    Row("WSGI request, defaults", "wsgi.bare", _WEB, Target(ways.PEERS)),
    Row("Flask request, defaults", "wsgi.with_flask", _WEB, Target(ways.PEERS)),
    Row("Django request, defaults", "wsgi.with_django", _WEB, Target(ways.PEERS)),
    Row("call out, httpx", "calls.with_httpx", _CALL, Target(ways.BY_HAND, 1.6)),
    Row("call out, requests", "calls.with_requests", _CALL, Target(ways.PEERS)),
    Row("call out, aiohttp", "calls.with_aiohttp", _CALL, Target(ways.PEERS)),
    Row("a scope of two values", "core.scope", (*_FIVE, ways.OTEL), Target(ways.OTEL)),
    Row("`Variable.get`", "core.get", (*_FIVE, ways.OTEL), Target(ways.BY_HAND, 1.0, 0.10)),
    Row(
        "`Context.run`, async, thousand instructions",
        "core.run",
        _FIVE,
        Target("0.9 of what it was", 0, 8.55),
        counted=True,
    ),
    Row("Celery, send and run", "tasks.with_celery", _TASK, Target(ways.PEERS)),
    Row("dramatiq, send and run", "tasks.with_dramatiq", _SENTRY, Target(ways.PEERS)),
    Row("taskiq, send and run", "tasks.with_taskiq", (*_OURS, ways.OTEL), Target(ways.PEERS)),
    Row(
        "FastStream, publish and consume, thousand instructions",
        "streams.with_faststream",
        (*_OURS, ways.OTEL),
        Target(ways.OTEL, 0.3),
        counted=True,
    ),
    *(Row(f"publish, {each}", "core.publish", _QUEUE, None, (each,)) for each in ways.CLIENTS),
    *(Row(f"consume, {each}", "core.consume", _QUEUE, None, (each,)) for each in ways.CLIENTS),
)


def chosen(words: str) -> list[Row]:
    """Return the rows whose names contain one of the words, which commas separate."""
    return [row for row in ROWS if any(word in row.name for word in words.split(","))]
