"""The queues, declared with kombu, which knows both brokers: memory and RabbitMQ."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import kombu
from kombu.exceptions import OperationalError
from kombu.transport.pyamqp import Transport

from mqctx.cli._demo import memory

# Its annotations are incomplete; as Any it passes the type checkers.
_kombu: Any = kombu

KOMBU_ERRORS: Final[tuple[type[Exception], ...]] = (
    OperationalError,
    *Transport.connection_errors,
    *Transport.channel_errors,
)
_CONNECT_SECONDS: Final = 5.0
_EXPIRE_SECONDS: Final = 60.0  # Should this process be killed, the broker deletes the queues.


def connect(url: str) -> Any:
    """Return an open connection, for a `with` block."""
    # Opened here: kombu connects only when it has to, which would be in the middle of the story.
    transport = memory.Transport if url == memory.URL else None
    connection = _kombu.Connection(url, transport=transport, connect_timeout=_CONNECT_SECONDS)
    return connection.ensure_connection(max_retries=1, interval_start=0)


def queue(name: str, **arguments: str) -> Any:
    """Return the description of a queue, with which it is declared and consumed from."""
    return _kombu.Queue(name, expires=_EXPIRE_SECONDS, queue_arguments=arguments or None)


@contextmanager
def queues(url: str, *described: Any) -> Generator[None, None, None]:
    """Declare queues; delete them after the block, however it ends."""
    with connect(url) as connection:
        declared = [each(connection.default_channel) for each in described]
        try:
            for each in declared:
                each.declare()
            yield
        finally:
            for each in declared:
                each.delete()
