"""aio-pika's own recovery, which consumes again with the callback that it saved."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import pytest

from mqctx import configure
from mqctx.adapters.aio_pika import instrument, uninstrument
from tests.drivers.handling import context_of
from tests.drivers.on_aio_pika import SURVIVES_CANCEL, connect_robust

from .proxy import Proxy
from .recovery import ReadCountingFormat, Watched, delete_and_declare, publish_numbers

EACH_TIME = 5
"""How many messages come before a fault, and after it."""

FAULTS = ["cut", "cancel", "cut", "cancel"] if SURVIVES_CANCEL else ["cut", "cut"]


@pytest.mark.parametrize(
    ("decorated", "instrumented"),
    [
        pytest.param(True, "", id="decorated", marks=pytest.mark.full),
        pytest.param(False, "library", id="library instrumented"),
        pytest.param(False, "connection", id="connection instrumented", marks=pytest.mark.full),
        pytest.param(True, "library", id="both", marks=pytest.mark.full),
    ],
)
def test_a_restored_consumer_handles_each_delivery_once(
    decorated: bool, instrumented: str, amqp_url: str, proxy: Proxy, queue_name: str
) -> None:
    """After each recovery there is one run per delivery, in its context, and no wrapper more.

    Recovered from: a connection that was cut, and a consumer that the broker cancelled because
    its queue was deleted and declared again. A wrapper too many would read the context twice,
    and call the handler from a greater depth.
    """
    counting = ReadCountingFormat()
    configure(formats=[counting])

    async def main() -> Watched:
        watched = Watched(queue_name)
        async with AsyncExitStack() as stack:
            if instrumented == "library":
                stack.enter_context(_hooked())
            connection = await stack.enter_async_context(await connect_robust(proxy.url))
            if instrumented == "connection":
                stack.enter_context(_hooked(connection))
            await watched.consume(connection, decorated=decorated)
            await _strike(watched, amqp_url, proxy)
        return watched

    runs = asyncio.run(main()).runs
    assert [run for run in runs if run.context != context_of(run.number)] == []
    assert set(Counter(run.delivery for run in runs).values()) == {1}
    assert {run.number for run in runs} == set(range((1 + len(FAULTS)) * EACH_TIME))
    assert len({run.depth for run in runs}) == 1
    # Without headers there is nothing to read.
    assert counting.reads == sum(bool(run.context) for run in runs)


async def _strike(watched: Watched, url: str, proxy: Proxy) -> None:
    """Commit each fault twice, with messages before, between and after."""
    for number, fault in enumerate(["", *FAULTS]):
        if fault == "cut":
            assert await asyncio.to_thread(proxy.cut) == 2
        elif fault == "cancel":
            await asyncio.to_thread(delete_and_declare, url, watched.queue)
        numbers = range(number * EACH_TIME, (number + 1) * EACH_TIME)
        await asyncio.to_thread(publish_numbers, url, watched.queue, numbers)
        await watched.see(numbers)


@contextmanager
def _hooked(target: object = None) -> Iterator[None]:
    instrument(target)
    try:
        yield
    finally:
        uninstrument(target)
