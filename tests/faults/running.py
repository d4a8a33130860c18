"""Run a flow with faults in it: the same for each client and each fault."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mqctx import current, scope
from tests.drivers.clients import Client
from tests.drivers.flow import FLOW_SECONDS, ROLES, Flow, Record
from tests.drivers.on_pika import pika_channel


def run_flow(
    flow: Flow, clients: Sequence[Client], fault: Callable[[], object], *, times: int, step: int
) -> Record:
    """Let each client publish and consume; commit the fault some times, `step` messages apart.

    Returns when all messages that were confirmed are handled and the clients have ended.
    """
    with pika_channel(flow.url) as channel:
        # A message that finds no queue is confirmed too.
        channel.queue_declare(flow.queue, durable=True, arguments=flow.arguments)
    with _at_work(flow, clients):
        for _ in range(times):
            flow.advance(step)
            fault()
        flow.advance(step)
        flow.stop()
        flow.join()
    return flow.record


def check(record: Record, *, messages: int, interrupted: int = 0) -> None:
    """Assert that each message was handled in its own context, and that the faults did strike.

    There must be this many messages, and interruptions of publishers and of consumers, or more.
    """
    assert not record.mixed, f"{len(record.mixed)} with another context, as {record.mixed[:5]}"
    assert not record.lost(), f"never handled: {record.lost()}"
    assert record.confirmed == set(range(record.given)), "not all were confirmed"
    assert len(record.confirmed) >= messages, f"only {len(record.confirmed)} messages"
    for role in ROLES:
        assert record.interrupted[role] >= interrupted, f"{role}: {record.interrupted}"


@contextmanager
def _at_work(flow: Flow, clients: Sequence[Client]) -> Iterator[None]:
    threads = [
        threading.Thread(target=_guarded, args=(flow, target), daemon=True)
        for client in clients
        for target in (client.publish_through, client.consume_through)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    except BaseException as error:
        flow.fail(error)
        raise
    finally:
        for thread in threads:
            thread.join(FLOW_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    flow.join()


def _guarded(flow: Flow, target: Callable[[Flow], None]) -> None:
    """Run a client's part inside a context that no message brought, and that must survive it."""
    try:
        with scope(ambient=target.__name__):
            target(flow)
            assert current() == {"ambient": target.__name__}
        assert current() == {}
    except BaseException as error:
        flow.fail(error)
