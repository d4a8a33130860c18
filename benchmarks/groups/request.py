"""What a web request pays for having a context, and for publishing with it."""

import asyncio
import random
import socket
from contextlib import closing
from time import perf_counter

from benchmarks.asking import END, Address, Connections, echo, serving
from benchmarks.results import Measured, Results
from benchmarks.rounds import Spread, percentile, ratio, rounds
from benchmarks.site import CONTEXT, PLAIN, RUN, serve
from benchmarks.tables import Table

PARTS = ("ASGI",)
UNIT = "second"
CASES = {
    "no I/O": "0",
    "one awaited call": "1",
    "three awaited calls": "3",
    "no I/O, and a publish": "0/publish",
    "one awaited call, and a publish": "1/publish",
}
STEADY = {"one awaited call": "1", "one awaited call, and a publish": "1/publish"}
"""The cases that are measured at a steady rate too."""
KINDS = (PLAIN, RUN, CONTEXT)
RATE = 1000
BATCH = 20
P99 = "p99 at a steady rate, "


def measure(part: str, seconds: float) -> Measured:
    """Let requests with and without a context take turns, then seconds of them at a steady rate."""
    times: dict[str, list[float]] = {}
    with serving(echo) as echoing, serving(serve, echoing) as address:
        one_by_one = [f"{kind}/{case}" for kind in KINDS for case in CASES.values()]
        steady = [f"{kind}/{case}" for kind in KINDS for case in STEADY.values()]
        with closing(socket.create_connection(address)) as connection:
            for took in rounds(seconds / 2, times):
                for path in random.sample(one_by_one, len(one_by_one)):
                    took[path] = _ask(connection, path)
        for took in rounds(seconds / 2, times):
            for path in random.sample(steady, len(steady)):
                latencies = asyncio.run(_ask_steadily(address, path))
                took[P99 + path] = percentile(latencies, 99)
    return times


def _request(path: str) -> bytes:
    return f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _ask(connection: socket.socket, path: str) -> float:
    """Return seconds per request, on one connection, one after the other."""
    request = _request(path)
    start = perf_counter()
    for _ in range(BATCH):
        connection.sendall(request)
        answer = connection.recv(4096)
        while not answer.endswith(END):
            answer += connection.recv(4096)
    return (perf_counter() - start) / BATCH


async def _ask_steadily(address: Address, path: str) -> list[float]:
    """Return the seconds from when each request was due, for one second, to its answer."""
    request = _request(path)
    latencies: list[float] = []

    async def ask(due: float) -> None:
        await connections.ask(request)
        latencies.append(perf_counter() - due)

    with closing(Connections(address)) as connections:
        async with asyncio.TaskGroup() as asking:
            start = perf_counter()
            for number in range(RATE):
                due = start + number / RATE
                if (wait := due - perf_counter()) > 0:
                    await asyncio.sleep(wait)
                asking.create_task(ask(due))
    return latencies


def tables(results: Results) -> list[Table]:
    """Return what each case takes without a context, and how much more with one."""
    times = results.of("request", "ASGI")
    if not times:
        return []
    rows = [_row(times, case, "", path) for case, path in CASES.items()]
    rows += [_row(times, f"{case}: p99", P99, path) for case, path in STEADY.items()]
    return [
        Table(
            "A web request",
            "Microseconds for a request to uvicorn, and the share that a context adds (and its "
            "publishing, to RabbitMQ through aio-pika): `mqctx.run` around the application alone, "
            "and our middleware, which makes ids and a trace, looks at headers and adds one: "
            "median (quartiles). An awaited call goes to another process and back. p99: at a "
            f"steady {RATE:,} requests per second, from when a request was due; where the machine "
            "cannot keep that up, it says nothing.",
            ("request", "plain", "in a run, added", "with the middleware, added"),
            rows,
        )
    ]


def _row(times: Measured, case: str, start: str, path: str) -> tuple[str, ...]:
    plain = f"{start}{PLAIN}/{path}"
    added = (_added(times, plain, f"{start}{kind}/{path}") for kind in (RUN, CONTEXT))
    return case, Spread.of(times[plain]).text(1e6, 0), *added


def _added(times: Measured, plain: str, other: str) -> str:
    share = ratio(times, plain, other)
    low, middle, high = (100 * (each - 1) for each in (share.low, share.median, share.high))
    return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"
