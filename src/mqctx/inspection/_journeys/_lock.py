"""One at a time, among all connections to a vhost."""

from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, Final

from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import ChannelClosedByBroker

__all__ = ["locked"]

_QUEUE: Final = "mqctx.trace-lock"
_SECONDS: Final = 20.0
_PAUSE: Final = 0.05


@contextmanager
def locked(
    connection: BlockingConnection, seconds: float = _SECONDS
) -> Generator[None, None, None]:
    """Let the block run while no other connection is in one.

    Nobody else can declare an exclusive queue, which goes with its connection: so no lock is left
    by a process that was killed. One that takes too long is not waited for any longer.

    Raises:
        AMQPError: the connection is lost.
    """
    channel = _try_to_hold(connection, seconds)
    try:
        yield
    finally:
        if channel is not None and channel.is_open:
            channel.queue_delete(_QUEUE)
            channel.close()


def _try_to_hold(connection: BlockingConnection, seconds: float) -> Any:
    until = monotonic() + seconds
    while monotonic() < until:
        channel: Any = connection.channel()
        try:
            channel.queue_declare(_QUEUE, exclusive=True, arguments={"x-queue-type": "classic"})
        except ChannelClosedByBroker:  # 405: it is another connection's
            sleep(_PAUSE)
        else:
            return channel
    return None
