"""What the clients' sessions on a real broker have in common."""

import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

from benchmarks.ways import Values

PREFETCH = 200
TIMEOUT = 30.0
"""Seconds in which something must arrive."""
Body: TypeAlias = Callable[[], bytes] | None
"""Makes the body of each message. None: any."""
Seen: TypeAlias = Callable[[bytes], object] | None
"""Called with the body of each message that arrives."""


class Session(Protocol):
    """One client, in one way, on a connection and a queue of its own."""

    queue: str

    def publish(self, count: int, values: Values, rate: float = 0, body: Body = None) -> None:
        """Publish messages of one context, at a steady rate per second, or at once."""

    def consume(self, count: int, seen: Seen = None) -> float:
        """Consume so many messages; return the seconds from the first callback to the last ack."""
        ...

    def purge(self) -> None:
        """Wait until the broker took all that was published, and throw it away."""

    def close(self) -> None:
        """Delete the queue, if it was made here, and close the connection."""


def due(count: int, rate: float) -> Iterator[float]:
    """Iterate over the seconds to wait before each of so many messages."""
    start = time.perf_counter()
    for number in range(count):
        yield start + number / rate - time.perf_counter() if rate else 0


def paced(count: int, rate: float) -> Iterator[None]:
    """Iterate so many times, so often per second: as fast as may be if the rate is 0."""
    for wait in due(count, rate):
        if wait > 0:
            time.sleep(wait)
        yield
