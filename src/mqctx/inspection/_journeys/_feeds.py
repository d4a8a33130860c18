"""The sources of events: RabbitMQ's firehose, or one exchange whose messages are copied."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import inf
from typing import Final, Protocol

from pika.adapters.blocking_connection import BlockingConnection

from mqctx.inspection._journeys._backlog import Read
from mqctx.inspection._journeys._drops import Tally
from mqctx.inspection._journeys._events import Reader
from mqctx.inspection._journeys._joiner import Joiner
from mqctx.inspection._journeys._lock import locked
from mqctx.inspection._journeys._queues import FIREHOSE, Queues
from mqctx.inspection._journeys._tracing_state import Found, TracingState, new_queue
from mqctx.inspection._management import Management

__all__ = ["Feed", "Firehose", "Tap"]

_SILENCE: Final = 10.0


class Feed(Protocol):
    """A source that a trace listens to."""

    exchange: str
    """The exchange that our queue is bound to."""
    routing_key: str
    """The pattern by which it is bound."""
    silence: float
    """Seconds after which it is said that nothing has come."""
    read: Read
    """Reads an event of it."""

    def joiner(self, by: str, /) -> Joiner:
        """Return what joins its events; `by` is the name that tells requests apart."""
        ...

    def tally(self) -> Tally | None:
        """Return what RabbitMQ's statistics count; None if that is unknown."""
        ...

    def new_queue(self) -> str:
        """Return a name for our queue."""
        ...

    def alone(self, connection: BlockingConnection, /) -> AbstractContextManager[None]:
        """Let the block run while no other trace begins or ends."""
        ...

    def begin(self, queue: str, /) -> Found:
        """Let events come to our queue."""
        ...

    def end(self, queue: str, /) -> Sequence[str]:
        """Leave the broker as it was, but for our queue; return what to say of it."""
        ...


class Firehose:
    """All that is published and delivered in a vhost. It takes an administrator.

    Args:
        management: The management API.
        vhost: The vhost.
    """

    exchange = FIREHOSE
    routing_key = "#"
    silence = inf

    def __init__(self, management: Management, vhost: str) -> None:
        self._state = TracingState(management, vhost)
        self._queues = Queues(management, vhost)
        self.read: Read = Reader().of_firehose
        self.tally = self._queues.tally
        self.alone = locked
        self.begin = self._state.begin

    def joiner(self, by: str) -> Joiner:
        """Return a joiner that can ask for queues and consumers."""
        return Joiner(by=by, exists=self._queues.exist, consumers=self._queues.consumers)

    def new_queue(self) -> str:
        """Return a name that tells other traces which node is traced.

        Raises:
            ManagementError: it cannot be asked.
        """
        return new_queue(self._state.node)

    def end(self, queue: str) -> Sequence[str]:
        """Turn tracing off unless it was on before, or another trace needs it.

        Raises:
            ManagementError: it cannot be turned off.
        """
        return [self._state.end(queue)]


class Tap:
    """Copies of what is published to one exchange.

    Args:
        exchange: The exchange.
        routing_key: The pattern of what is copied.
    """

    silence = _SILENCE

    def __init__(self, exchange: str, routing_key: str = "#") -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.read: Read = Reader().of_tap

    def joiner(self, by: str) -> Joiner:
        """Return a joiner that makes publishes follow each other."""
        return Joiner(by=by, tapped=True)

    def tally(self) -> Tally | None:
        """Return None: it has no access to statistics."""
        return None

    def new_queue(self) -> str:
        """Return a name."""
        return new_queue()

    def alone(self, _connection: BlockingConnection) -> AbstractContextManager[None]:
        """Let the block run: no other trace is in the way."""
        return nullcontext()

    def begin(self, _queue: str) -> Found:
        """Change nothing: the queue is bound."""
        return Found()

    def end(self, _queue: str) -> Sequence[str]:
        """Change nothing: the queue goes by itself."""
        return ()
