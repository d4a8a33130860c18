"""Messages per second through a real broker: `python -m benchmarks.throughput CLIENT SECONDS`.

A shared machine has quiet and busy phases that differ by more than what is measured. So the ways
take turns, each with a short batch, in a new order each round; compared is what ran in one round.
"""

import json
import os
import random
import sys
from time import perf_counter

from benchmarks import ways

WAYS = (ways.RAW, ways.ONE, ways.FIVE, ways.MQCTX, ways.OTEL)
MESSAGES = 200
"""In a batch: enough to outlast a socket's buffers, few enough to share a phase."""
_LEAST = 5
"""How many rounds there are, however long they take."""


def measure(client: str, seconds: float) -> dict[str, dict[str, list[int]]]:
    """Return messages per second, of each round, by direction and way."""
    os.sched_setaffinity(0, {0})  # the broker has another CPU, where there is one
    rates: dict[str, dict[str, list[int]]] = {"publish": {}, "consume": {}}
    deadline, rounds = perf_counter() + seconds, 0
    with ways.sessions(client, WAYS) as sessions:
        while rounds < _LEAST or perf_counter() < deadline:
            rounds += 1
            for way in random.sample(WAYS, len(WAYS)):
                start = perf_counter()
                sessions[way].publish(MESSAGES)
                published = perf_counter() - start
                consumed = sessions[way].consume(MESSAGES)
                if rounds > 1:  # the first one warms up
                    for doing, took in (("publish", published), ("consume", consumed)):
                        rates[doing].setdefault(way, []).append(round(MESSAGES / took))
    return rates


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], float(sys.argv[2]))))
