"""Trace a vhost: from the broker as it was found, to the broker as it was found."""

from math import inf
from time import monotonic, sleep
from typing import Final, Protocol

import msgspec
from pika.adapters.blocking_connection import BlockingConnection

from mqctx.inspection._broker import Broker
from mqctx.inspection._connection import connected
from mqctx.inspection._errors import BrokerError
from mqctx.inspection._journeys._backlog import Backlog
from mqctx.inspection._journeys._drops import Drops, Tally
from mqctx.inspection._journeys._events import Reader
from mqctx.inspection._journeys._joiner import Joiner
from mqctx.inspection._journeys._lock import locked
from mqctx.inspection._journeys._model import Event
from mqctx.inspection._journeys._queues import Queues
from mqctx.inspection._journeys._records import Record
from mqctx.inspection._journeys._source import Source
from mqctx.inspection._journeys._tracing_state import Found, TracingState, new_queue
from mqctx.inspection._management import Management, ManagementError

__all__ = ["Settings", "Status", "Tracer", "Watcher"]

_PAUSE: Final = 0.2
_LOOK: Final = 1.0
_BATCH: Final = 100
"""Events that are joined at once: in between, those are received that have come."""
_PATIENCE: Final = 60.0
"""Seconds for which a broker that is gone may take to come back."""
_MOST_DRAIN: Final = 60.0
"""Seconds for which events are received that wait when the trace ends."""
_SILENCE: Final = 10.0
_NAME: Final = "mqctx trace"
_ONE_NODE: Final = "each node traces for itself; --management names the one that is traced"
_SILENT: Final = (
    "nothing in 10 s: is anything published to it? A direct exchange needs --routing-key"
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is traced, and for how long."""

    by: str = "request_id"
    buffer: int = 20_000
    seconds: float | None = None
    tap: str | None = None
    routing_key: str | None = None


class Status(msgspec.Struct):
    """How a trace fares."""

    seconds: float = 0.0
    events: int = 0
    running: int = 0
    waiting: int = 0
    dropped: int | None = 0


class Watcher(Protocol):
    """What becomes of what a trace finds out."""

    def journey(self, records: list[Record]) -> None:
        """Take a journey, or more of one: parents before children."""
        ...

    def status(self, status: Status) -> None:
        """Take the status, several times a second."""
        ...

    def warn(self, text: str) -> None:
        """Take a line for who watches."""
        ...


class Tracer:
    """Trace a vhost.

    Args:
        broker: The broker, and the vhost.
        management: Its management API; None for a tap, which needs none.
        settings: What is traced.
        watcher: What is told of what happens.
    """

    def __init__(
        self,
        broker: Broker,
        management: Management | None,
        settings: Settings,
        watcher: Watcher,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._watcher = watcher
        self._queues = Queues(management, broker.vhost) if management else None
        self._joiner = (
            Joiner(by=settings.by, tapped=True)
            if self._queues is None
            else Joiner(by=settings.by, exists=self._queues.exist, consumers=self._queues.consumers)
        )
        self._state = TracingState(management, broker.vhost) if management else None
        reader = Reader()
        self._backlog = Backlog(
            settings.buffer, reader.of_firehose if management else reader.of_tap
        )
        self._drops = Drops(settings.buffer, self._backlog, self._counted)
        self._began = monotonic()
        self._has_begun = self._is_stopped = False
        self._lost_at: float | None = None
        self._next_look = 0.0
        self._silent_until = self._began + _SILENCE if settings.tap else inf
        self.status = Status()
        """How it fares."""
        self.untraced_nodes: set[str] = set()
        """The nodes of which nothing is seen."""

    def stop(self) -> None:
        """End the trace soon. A signal handler may call it."""
        self._is_stopped = True

    def run(self) -> bool:
        """Trace until the time is up, or `stop` was called; return False if the broker was lost.

        Raises:
            BrokerError: no connection can be opened, or the queue is refused.
            ManagementError: tracing cannot be turned on.
        """
        try:
            is_whole = self._run()
        finally:
            if self._has_begun:
                self._restore()
        self._join_all()
        for journey in self._joiner.finish():
            self._watcher.journey(journey)
        self.status.events = self._backlog.taken
        self.status.seconds = monotonic() - self._began
        return is_whole

    def _run(self) -> bool:
        while True:
            try:
                with connected(self._broker, _NAME) as connection:
                    source = self._begin(connection)
                    self._lost_at = None
                    self._watch(source)
                    self._end(connection, source)
                return True
            except (BrokerError, ManagementError) as error:
                # A broker that cannot be reached in the first place is not waited for.
                if not self._has_begun:
                    raise
                if not self._may_come_back(error):
                    return False
                sleep(_PAUSE)

    def _may_come_back(self, error: Exception) -> bool:
        """Note that the broker is gone, and tell whether to wait for it."""
        if self._lost_at is None:
            self._lost_at = monotonic()
            # Our queue was exclusive, and went with the connection.
            self._drops.lose()
            self._watcher.warn(f"{error}. Waiting for it to come back")
        return not self._is_over() and monotonic() <= self._lost_at + _PATIENCE

    def _begin(self, connection: BlockingConnection) -> Source:
        settings = self._settings
        if settings.tap is not None or self._state is None:
            source = Source(
                connection,
                new_queue(),
                self._backlog,
                buffer=settings.buffer,
                exchange=settings.tap or "",
                routing_key=settings.routing_key,
            )
            self._has_begun = True
            return source
        with locked(connection):
            # The queue first: it is what tells other traces that tracing is needed still.
            queue = new_queue(self._state.node)
            source = Source(connection, queue, self._backlog, buffer=settings.buffer)
            if not self._has_begun:  # once, not after each loss of the connection
                self._drops.begin()
            found = self._state.begin(source.queue)
        if not self._has_begun:
            self._tell(found)
        self.untraced_nodes |= {*found.untraced_nodes}
        self._has_begun = True
        return source

    def _tell(self, found: Found) -> None:
        for each in found.warnings:
            self._watcher.warn(each)
        if found.untraced_nodes:
            self._watcher.warn(f"not traced: {', '.join(found.untraced_nodes)}; {_ONE_NODE}")

    def _watch(self, source: Source) -> None:
        """Join events as they come, until the trace is over."""
        while not self._is_over():
            if monotonic() > self._next_look:
                self._look(source)
            source.receive(0 if self._backlog else _PAUSE)
            self._join()

    def _end(self, connection: BlockingConnection, source: Source) -> None:
        """Receive what waits already, and leave the vhost as it was."""
        self._look(source)
        if self._state is None:
            self._drain(source)
            return
        with locked(connection):
            self._watcher.warn(self._state.end(source.queue))
            self._drain(source)
        self._has_begun = False

    def _drain(self, source: Source) -> None:
        """Receive what was there when the trace ended; another trace may let more come."""
        source.catch_up()
        left = source.pause()
        target, until = self._backlog.received + left, monotonic() + _MOST_DRAIN
        if left:
            source.resume()
            while self._backlog.received < target and monotonic() < until:
                source.receive(0 if self._backlog else _PAUSE)
                self._join()
            source.pause()
        self._drops.unread = max(0, target - self._backlog.received)
        source.close()

    def _join(self) -> None:
        """Join some of the events that have come."""
        events = self._backlog.take(_BATCH)
        for event in events:
            self._joiner.take(event)
        if self.untraced_nodes:
            self.untraced_nodes -= {e.place.node for e in events if isinstance(e, Event)}
        for journey in self._joiner.advance(self._backlog.now):
            self._watcher.journey(journey)

    def _join_all(self) -> None:
        while self._backlog:
            self._join()

    def _look(self, source: Source) -> None:
        """Find out how far behind we are."""
        self._next_look = monotonic() + _LOOK
        dropped = self._drops.look(source.waiting())
        self.status = Status(
            seconds=monotonic() - self._began,
            events=self._backlog.taken,
            running=len(self._joiner.journeys),
            waiting=self._drops.waiting + len(self._backlog),
            dropped=dropped,
        )
        self._watcher.status(self.status)
        self._say_if_silent()

    def _say_if_silent(self) -> None:
        """Say, once, that nothing has come for long to an exchange that is tapped."""
        if monotonic() > self._silent_until and not self._backlog.received:
            self._silent_until = inf
            self._watcher.warn(_SILENT)

    def dropped(self) -> int | None:
        """Return how many events were lost, once the trace has ended; None if that is unknown.

        Waits for RabbitMQ's statistics if there may be any.
        """
        return self._drops.at_end()

    def _counted(self) -> Tally | None:
        return None if self._queues is None else self._queues.tally()

    def _is_over(self) -> bool:
        seconds = self._settings.seconds
        return self._is_stopped or (seconds is not None and monotonic() >= self._began + seconds)

    def _restore(self) -> None:
        """Leave the vhost as it was, though the connection is lost."""
        if self._state is None:
            return
        try:
            self._watcher.warn(self._state.end(""))
        except ManagementError as error:
            self._watcher.warn(f"{error}. Tracing may still be on: run `mqctx trace --off` later")
