"""Print what each message costs beyond the raw client, without a broker: `python -m benchmarks.own_work`.

Real client objects, whose connection sends nothing; the raw call is subtracted, round by round.
"""

import argparse
import gc
import itertools
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks import on_aio_pika, on_kombu, on_pika, ways
from benchmarks.rounds import Items, Variant, added, time_in_turn

CLIENTS: Mapping[str, ModuleType] = {"pika": on_pika, "kombu": on_kombu, "aio-pika": on_aio_pika}


def publishing(client: ModuleType, way: str, count: int = 5) -> Variant:
    """Publish with the same values active all the time."""

    def messages(batch: int) -> Items:
        return [client.message() for _ in range(batch)]

    call = client.publisher(way, client.channel())
    active = partial(ways.ACTIVE[way], ways.values(count))
    return Variant(call, messages, active, awaited=client is on_aio_pika)


def consuming(client: ModuleType, way: str, count: int = 5, carrier: str | None = None) -> Variant:
    """Consume messages of as many contexts, in one way, of a publisher in another or the same."""
    # As many different messages that nobody gains from remembering the last ones.
    ring = itertools.cycle(
        [client.delivery(ways.headers(carrier or way, ways.values(count))) for _ in range(500)]
    )

    def deliveries(batch: int) -> Items:
        return list(itertools.islice(ring, batch))

    call = client.handler(way, client.quiet)
    if client is on_kombu:
        call = on_kombu.receiver(call)
    return Variant(call, deliveries, partial(ways.nothing, {}), awaited=client is on_aio_pika)


def main() -> None:
    """Print a table, medians and quartiles in microseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", default="mqctx", help="comma separated, or 'all'")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=25)
    arguments: Any = parser.parse_args()
    gc.freeze()
    for name, client in CLIENTS.items():
        chosen = client.WAYS if arguments.ways == "all" else ("raw", *arguments.ways.split(","))
        for title, variants in (
            ("publish", {way: publishing(client, way) for way in chosen}),
            ("consume", {way: consuming(client, way) for way in chosen}),
            ("consume, no context", {w: consuming(client, w, 0, ways.RAW) for w in chosen}),
        ):
            times = time_in_turn(variants, arguments.rounds, arguments.batch)
            for way in chosen[1:]:
                spread = added(times, way, ways.RAW)
                low, middle, high = (
                    each * 1e6 for each in (spread.low, spread.median, spread.high)
                )
                print(f"{name:9} {title:20} {way:24} {middle:6.2f} us  [{low:.2f} .. {high:.2f}]")


if __name__ == "__main__":
    main()
