"""Messages per second through a real broker.

Seconds are those of the client's processor: it is what a client is short of, and a shared machine
takes it away at times. Such a machine has quiet and busy phases, too, that differ by more than what
is measured. So the ways take turns, each with a short batch in a process of its own, in a new order
each round; compared is what ran in one round.
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
_LEAST = 5
"""How many rounds there are, however long they take."""


def measure(client: str, seconds: float) -> dict[str, dict[str, list[int]]]:
    """Return messages per second, of each round, by direction and way."""
    rates: dict[str, dict[str, list[int]]] = {"publish": {}, "consume": {}}
    ways.module(client)  # before the processes are forked: each has it then
    deadline, rounds = perf_counter() + seconds, 0
    with ExitStack() as stack:
        clients = {way: stack.enter_context(forked(_serve, client, way)) for way in WAYS}
        while rounds < _LEAST or perf_counter() < deadline:
            rounds += 1
            for way in random.sample(WAYS, len(WAYS)):
                took = clients[way](MESSAGES)
                if rounds > 1:  # the first one warms up
                    for doing, each in zip(rates, took, strict=True):
                        rates[doing].setdefault(way, []).append(round(MESSAGES / each))
    return rates


def _serve(client: str, way: str, orders: Connection) -> None:
    """Publish and consume as many as is ordered, and answer how long each took."""
    os.sched_setaffinity(0, {0})  # the broker has another CPU, where there is one
    gc.freeze()
    with ways.sessions(client, [way]) as sessions:
        while True:
            count = orders.recv()
            start = process_time()
            sessions[way].publish(count)
            published = process_time() - start
            orders.send((published, sessions[way].consume(count)))
