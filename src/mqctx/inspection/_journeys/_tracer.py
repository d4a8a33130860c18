"""Trace a vhost: from the broker as it was found, to the broker as it was found."""

from collections.abc import Iterable
from math import inf
from time import monotonic, sleep
from typing import Final, Protocol

import msgspec
from pika.adapters.blocking_connection import BlockingConnection

from mqctx.inspection._broker import Broker
from mqctx.inspection._connection import connected
from mqctx.inspection._errors import BrokerError
from mqctx.inspection._journeys._backlog import Backlog
from mqctx.inspection._journeys._drops import Drops
from mqctx.inspection._journeys._feeds import Feed
from mqctx.inspection._journeys._records import Record
from mqctx.inspection._journeys._source import Source
from mqctx.inspection._journeys._told import Event, RunReport
from mqctx.inspection._journeys._tracing_state import Found
from mqctx.inspection._management import ManagementError

__all__ = ["Settings", "Status", "Tracer", "Watcher"]

_PAUSE: Final = 0.2
_LOOK: Final = 0.25
"""Seconds in which RabbitMQ's queue is not to fill up unseen."""
_STATUS: Final = 1.0
_BATCH: Final = 100
"""Events that are joined at once: in between, those are received that have come."""
_PATIENCE: Final = 60.0
"""Seconds for which a broker that is gone may take to come back."""
_MOST_DRAIN: Final = 60.0
"""Seconds for which events are received that wait when the trace ends."""
_NAME: Final = "mqctx trace"
_ONE_NODE: Final = "each node traces for itself; --management names the one that is traced"
_SILENT: Final = (
    "nothing in 10 s: is anything published to it? A direct exchange needs --routing-key"
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a trace: what it joins by, and for how long it runs."""

    by: str = "request_id"
    buffer: int = 20_000
    seconds: float = inf


class Status(msgspec.Struct):
    """The progress of a trace."""

    seconds: float = 0.0
    events: int = 0
    running: int = 0
    waiting: int = 0
    dropped: int | None = 0


class Watcher(Protocol):
    """The receiver of all that a trace finds out."""

    def journey(self, records: list[Record]) -> None:
        """Take a journey, or more of one: parents before children."""
        ...

    def status(self, status: Status) -> None:
        """Take the status, several times a second."""
        ...

    def warn(self, text: str) -> None:
        """Take a line for the user."""
        ...


class Tracer:
    """Trace a vhost.

    Args:
        broker: The broker, and the vhost.
        feed: The source of the events.
        settings: How to trace, and for how long.
        watcher: Receives the journeys, the status and warnings.
    """

    def __init__(
        self,
        broker: Broker,
        feed: Feed,
        settings: Settings,
        watcher: Watcher,
    ) -> None:
        self._broker = broker
        self._feed = feed
        self._settings = settings
        self._watcher = watcher
        self._joiner = feed.joiner(settings.by)
        self._backlog = Backlog(settings.buffer, feed.read)
        self._drops = Drops(settings.buffer, self._backlog, feed.tally)
        self._began = monotonic()
        self._has_begun = self._is_stopped = False
        self._lost_at: float | None = None
        self._next_look = self._next_status = 0.0
        self._silent_until = self._began + feed.silence
        self.status = Status()
        """Its progress."""
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
                self._restore_what_is_left()
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
        with self._feed.alone(connection):
            # The queue first: it shows other traces that tracing is still needed.
            source = Source(
                connection,
                self._feed.new_queue(),
                self._backlog,
                buffer=self._settings.buffer,
                exchange=self._feed.exchange,
                routing_key=self._feed.routing_key,
            )
            is_first = not self._has_begun
            if is_first:
                self._drops.begin()
            found = self._feed.begin(source.queue)
        if is_first:  # and not after each loss of the connection
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
            self._look(source)
            source.receive(0 if self._backlog else _PAUSE)
            self._join()

    def _end(self, connection: BlockingConnection, source: Source) -> None:
        """Receive what waits already, and leave the vhost as it was."""
        self._next_look = self._next_status = 0.0
        self._look(source)
        with self._feed.alone(connection):
            self._restore(source.queue)
            self._drain(source)
        self._has_begun = False

    def _drain(self, source: Source) -> None:
        """Receive what was there when the trace ended; another trace may let more come."""
        source.catch_up()
        left = source.pause()
        self._drops.look(left)
        target, until = self._backlog.received + left, monotonic() + _MOST_DRAIN
        if left:
            source.resume()
            while self._backlog.received < target and monotonic() < until:
                self._join()
                source.receive(0 if self._backlog else _PAUSE)
            source.pause()
        self._drops.unread = max(0, target - self._backlog.received)
        source.close(is_counted=self._drops.are_counted())

    def _join(self) -> None:
        """Join some of the events that have come."""
        events = self._backlog.take(_BATCH)
        for event in events:
            self._joiner.take(event)
        if self.untraced_nodes:
            self._note_nodes(events)
        for journey in self._joiner.advance(self._backlog.now):
            self._watcher.journey(journey)

    def _note_nodes(self, events: Iterable[Event | RunReport]) -> None:
        """Note which nodes are traced after all, maybe by others."""
        self.untraced_nodes -= {each.place.node for each in events if isinstance(each, Event)}

    def _join_all(self) -> None:
        while self._backlog:
            self._join()

    def _look(self, source: Source) -> None:
        """Find out how far behind we are, if it is time to."""
        if monotonic() > self._next_look:
            self._drops.look(source.look())
            self._next_look = monotonic() + _LOOK
            self._tell_status()

    def _tell_status(self) -> None:
        if monotonic() <= self._next_status:
            return
        self._next_status = monotonic() + _STATUS
        dropped = self._drops.so_far()
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

    def _is_over(self) -> bool:
        return self._is_stopped or monotonic() >= self._began + self._settings.seconds

    def _restore(self, queue: str) -> None:
        """Leave the vhost as it was, but for our queue."""
        for each in self._feed.end(queue):
            self._watcher.warn(each)

    def _restore_what_is_left(self) -> None:
        """Leave the vhost as it was, though the connection is lost."""
        try:
            self._restore("")
        except ManagementError as error:
            self._watcher.warn(f"{error}. Tracing may still be on: run `mqctx trace --off` later")
