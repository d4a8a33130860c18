"""Sessions on the broker that the benchmarks run with."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module

from benchmarks import ways
from benchmarks.traffic import Session


def broker_url() -> str:
    """Return the URL of the broker, which docker/with-broker.sh gives."""
    return os.environ["MQCTX_BROKER_URL"]


def session(client: str, way: str, *, confirms: bool = False, queue: str = "") -> Session:
    """Open a session, on a queue of its own if none is named."""
    # Only this client, and only now: under callgrind, each import takes its time.
    module = import_module(f"benchmarks.through_{client.replace('-', '_')}")
    made: Session = module.Session(broker_url(), way, confirms=confirms, queue=queue)
    return made


@contextmanager
def opened(
    client: str, chosen: Iterable[str], *, confirms: bool = False
) -> Iterator[Mapping[str, Session]]:
    """Open a session in each way, and see that it carries a context, or none, as it should."""
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for way in chosen:
            sessions[way] = session(client, way, confirms=confirms)
            stack.callback(sessions[way].close)
            _see_that_it_carries(sessions[way], way)
        yield sessions


def _see_that_it_carries(session: Session, way: str) -> None:
    given = ways.values(5)
    arrived: list[ways.Values] = []
    session.publish(1, given)
    session.consume(1, lambda _: arrived.append(ways.active(way)))
    expected = {} if way in (ways.RAW, ways.ONE) else given
    if way == ways.MQCTX_EACH:  # another request's each time
        expected = {**given, "request_id": arrived[0]["request_id"]}
    if arrived != [expected]:
        raise AssertionError(f"{way}: {arrived} arrived, not {expected}")
