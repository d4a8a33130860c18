"""What each message costs beyond the raw client: real client objects, and no broker.

The connection under the objects sends nothing, so that neither it nor the client's codec hides
our work. The raw call is timed too, and subtracted round by round. For a quick look:

    python -m benchmarks.own_work [--ways all]
"""

import argparse
import gc
import itertools
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import mqctx
from benchmarks import on_aio_pika, on_kombu, on_pika, ways
from benchmarks.rounds import Items, Variant, added, time_in_turn
from mqctx.adapters.aio_pika import consume_with_context

CLIENTS: Mapping[str, ModuleType] = {"pika": on_pika, "kombu": on_kombu, "aio-pika": on_aio_pika}


def publishing(client: ModuleType, way: str, count: int = 5) -> Variant:
    """Publish with the same values active all the time."""
    call = client.publisher(way, client.channel())
    block = ways.ACTIVE[way](ways.values(count))
    return Variant(call, _messages(client), block, awaited=client is on_aio_pika)


def publishing_changed(client: ModuleType, way: str, count: int = 5) -> Variant:
    """Publish each message in a scope of its own: that much is done raw too."""
    publish = client.publisher(way, client.channel())

    def call(context: mqctx.Context, *message: object) -> None:
        with context.scope():
            publish(*message)

    async def awaited(context: mqctx.Context, *message: object) -> None:
        with context.scope():
            await publish(*message)

    def messages(batch: int) -> Items:
        return [(mqctx.Context(ways.values(count)), *client.message()) for _ in range(batch)]

    if client is on_aio_pika:
        return Variant(awaited, messages, nullcontext, awaited=True)
    return Variant(call, messages, nullcontext)


def consuming(client: ModuleType, way: str, count: int = 5) -> Variant:
    """Consume messages that each brought a context, as they are published in this way."""
    call = client.handler(way, _quiet(client))
    return handling(client, call, lambda: ways.headers(way, ways.values(count)))


def consuming_again(client: ModuleType, way: str) -> Variant:
    """Consume messages that all brought the same context, as those of one job do."""
    call = client.handler(way, _quiet(client))
    same = ways.headers(way, ways.values(5))
    return handling(client, call, lambda: same and dict(same))


def consuming_without(client: ModuleType, way: str) -> Variant:
    """Consume messages that brought no context."""
    return handling(client, client.handler(way, _quiet(client)), lambda: None)


def consuming_sync(way: str) -> Variant:
    """Consume with a sync handler from aio-pika, where `async def` is usual."""
    call = consume_with_context(ways.quiet) if way == ways.MQCTX else ways.quiet
    variant = handling(on_aio_pika, call, lambda: ways.headers(way, ways.values(5)))
    return Variant(variant.call, variant.items, variant.block)


def _quiet(client: ModuleType) -> Callable[..., Any]:
    return on_aio_pika.quiet if client is on_aio_pika else ways.quiet


def _messages(client: ModuleType) -> Callable[[int], Items]:
    return lambda batch: [client.message() for _ in range(batch)]


def handling(
    client: ModuleType, call: Callable[..., Any], headers: Callable[[], dict[str, str] | None]
) -> Variant:
    """Consume with a handler; each message has the headers that are made for it."""
    # So many different messages that nobody gains from remembering the last ones; so few that
    # they are in the processor's cache, as what the client has just decoded is.
    ring = itertools.cycle([client.delivery(headers()) for _ in range(10)])
    if client is on_kombu:
        call = on_kombu.receiver(call)
    return Variant(
        call,
        lambda batch: list(itertools.islice(ring, batch)),
        nullcontext,
        awaited=client is on_aio_pika,
    )


def main() -> None:
    """Print medians and quartiles, in microseconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_work", description=__doc__)
    parser.add_argument("--ways", default=ways.MQCTX, help="separated by commas, or: all")
    parser.add_argument("--seconds", type=float, default=2, help="for each block of lines")
    options = parser.parse_args()
    gc.freeze()
    for name, client in CLIENTS.items():
        chosen = ways.WAYS[name] if options.ways == "all" else (ways.RAW, *options.ways.split(","))
        for title, variant in (
            ("publish", publishing),
            ("publish, changed", publishing_changed),
            ("consume", consuming),
            ("consume, the same again", consuming_again),
            ("consume, no context", consuming_without),
        ):
            times = time_in_turn({way: variant(client, way) for way in chosen}, options.seconds)
            for way in chosen[1:]:
                spread = added(times, way, ways.RAW)
                print(f"{name:9} {title:20} {way:24} {spread.text(1e6)} us")


if __name__ == "__main__":
    main()
