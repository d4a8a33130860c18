"""Sessions on the broker that the benchmarks run with."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import ModuleType

from benchmarks import own_work, through_aio_pika, through_kombu, through_pika, ways
from benchmarks.traffic import Session

CLIENTS: Mapping[str, ModuleType] = {
    "pika": through_pika,
    "kombu": through_kombu,
    "aio-pika": through_aio_pika,
}
WAYS: Mapping[str, tuple[str, ...]] = {
    name: client.WAYS for name, client in own_work.CLIENTS.items()
}


def broker_url() -> str:
    """Return the URL of the broker, which docker/with-broker.sh gives."""
    return os.environ["MQCTX_BROKER_URL"]


@contextmanager
def opened(
    client: str, chosen: Iterable[str], *, confirms: bool = False
) -> Iterator[Mapping[str, Session]]:
    """Open a session in each way, and see that it carries a context, or none, as it should."""
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for way in chosen:
            session = CLIENTS[client].Session(broker_url(), way, confirms=confirms)
            stack.callback(session.close)
            _see_that_it_carries(session, way)
            sessions[way] = session
        yield sessions


def _see_that_it_carries(session: Session, way: str) -> None:
    given = ways.values(5)
    arrived: list[ways.Values] = []
    session.publish(1, given)
    session.consume(1, lambda _: arrived.append(ways.active(way)))
    expected = {} if way in (ways.RAW, ways.ONE) else given
    if arrived != [expected]:
        raise AssertionError(f"{way}: {arrived} arrived, not {expected}")
