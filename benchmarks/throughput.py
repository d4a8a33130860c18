"""Messages per second through a real broker.

Seconds are those of the client's processor: it is what a client is short of, and a shared machine
takes it away at times. Such a machine has quiet and busy phases, too, that differ by more than what
is measured. So the ways take turns, each with a short batch in a process of its own, in a new order
each round; compared is what ran in one pass of rounds.
"""

import gc
import os
import random
from contextlib import ExitStack
from multiprocessing.connection import Connection
from time import perf_counter, process_time

from benchmarks import ways
from benchmarks.own_work import forked

WAYS = (ways.RAW, ways.ONE, ways.FIVE, ways.MQCTX, ways.OTEL)
MESSAGES = 500
"""In a batch: enough to be warm for most of it, few enough to share a phase."""
PASSES = 10
"""Each has processes of its own, for where things come to lie in memory makes some percent."""


def measure(client: str, seconds: float) -> dict[str, dict[str, list[int]]]:
    """Return messages per second, of each pass, by direction and way."""
    rates: dict[str, dict[str, list[int]]] = {"publish": {}, "consume": {}}
    ways.module(client)  # before the processes are forked: each has it then
    for _ in range(PASSES):
        for way, times in _pass(client, seconds / PASSES).items():
            for doing, took in zip(rates, zip(*times, strict=True), strict=True):
                rates[doing].setdefault(way, []).append(round(MESSAGES * len(took) / sum(took)))
    return rates


def _pass(client: str, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Return how long each batch took, to publish and to consume, by way."""
    with ExitStack() as stack:
        clients = {way: stack.enter_context(forked(_serve, client, way)) for way in WAYS}
        times = {way: [clients[way](MESSAGES)] for way in WAYS}
        deadline = perf_counter() + seconds
        while perf_counter() < deadline:
            for way in random.sample(WAYS, len(WAYS)):
                times[way].append(clients[way](MESSAGES))
    return {way: each[1:] for way, each in times.items()}  # the first ones warm up


def _serve(client: str, way: str, orders: Connection) -> None:
    """Publish and consume as many as is ordered, and answer how long each took."""
    os.sched_setaffinity(0, {0})  # the broker has another CPU, where there is one
    gc.freeze()
    with ways.sessions(client, [way]) as sessions:
        while True:
            count = orders.recv()
            start = process_time()
            sessions[way].publish(count)
            orders.send((process_time() - start, sessions[way].consume(count)))
