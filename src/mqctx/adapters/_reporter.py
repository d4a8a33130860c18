"""Send reports in the background, on connections of our own."""

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, Protocol

import msgspec

from mqctx._core.context import Context
from mqctx._core.identity import service_name
from mqctx._core.rejection import logger
from mqctx._core.values import as_plain, describe
from mqctx.errors import MqctxError

__all__ = ["TYPE", "Ended", "Origin", "Outlet", "Reporter", "Sender", "reporter"]

TYPE: Final = "mqctx.run"
"""The property `type` of a report, by which `mqctx trace` knows it."""
_MOST_WAITING: Final = 1_000
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_AT_EXIT: Final = 1.0
_MOST_ROUTING_KEY: Final = 255


class Sender(Protocol):
    """A connection for reports."""

    def send(self, routing_key: str, body: bytes) -> None:
        """Publish a report. May raise anything."""
        ...

    def close(self) -> None:
        """Close the connection. May raise anything."""
        ...


class Outlet(Protocol):
    """A client's way to send reports. It is used in a thread of ours, and may raise anything."""

    def key(self, client: Any) -> Hashable:
        """Return what connections to one broker have in common."""
        ...

    def open(self, client: Any, exchange: str) -> Sender:
        """Open a connection to the broker of the client's, and declare the exchange."""
        ...


class Origin(msgspec.Struct, kw_only=True):
    """The origin of a message, as its client reports it."""

    client: Any
    """The client's own connection, which is never used."""
    outlet: Outlet
    message_id: Any = None
    exchange: Any = None
    routing_key: Any = None
    correlation_id: Any = None
    redelivered: Any = None
    consumer_tag: Any = None
    connection: str | None = None
    """The address and port of our own end."""


class Ended(msgspec.Struct):
    """A run that has ended."""

    origin: Origin
    exchange: str
    context: Context
    handler: str
    outcome: str
    error: str | None
    began_at: str
    duration: float
    published: list[str]


class Reporter:
    """A queue of reports and the thread that sends them; what does not fit is dropped, and counted.

    To add one takes no lock: a handler may be forked, or interrupted by a signal, at any moment.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        """How many were not sent."""
        self._clock = clock
        self._start_anew()

    def _start_anew(self) -> None:
        self._waiting: SimpleQueue[Ended | Callable[[], object]] = SimpleQueue()
        self._senders: dict[Hashable, Sender] = {}
        self._thread: threading.Thread | None = None
        self._closed_until = 0.0
        self._pause = _FIRST_PAUSE

    def add(self, ended: Ended) -> None:
        """Add a report. Never waits, never raises."""
        if self._waiting.qsize() >= _MOST_WAITING:
            self._drop()
            return
        self._waiting.put(ended)
        # At the first report: a server that forks its workers has no thread of ours by then.
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mqctx-reports", daemon=True)
            with suppress(RuntimeError):  # the interpreter is about to end
                self._thread.start()
                _flush_at_the_end_of_a_child(self.flush)

    def forked(self) -> None:
        """Forget what is the parent's: its thread is not here, and its connections are its own."""
        self._start_anew()

    def flush(self, seconds: float = _AT_EXIT) -> None:
        """Wait until all is sent, at most so long."""
        # A SimpleQueue cannot be joined; its `put` alone may be interrupted by itself.
        if self._thread is not None and self._thread.is_alive():
            done = threading.Event()
            self._waiting.put(done.set)
            done.wait(seconds)

    def close(self, seconds: float = _AT_EXIT) -> None:
        """Close all connections once all is sent, and wait for it, at most so long."""
        self._waiting.put(self._close)
        self.flush(seconds)

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            if isinstance(item, Ended):
                self._send(item)
            else:
                item()

    def _close(self) -> None:
        while self._senders:
            with suppress(Exception):
                self._senders.popitem()[1].close()

    def _send(self, ended: Ended) -> None:
        if self._clock() < self._closed_until:
            self._drop()
            return
        key: Hashable = None
        try:
            key = ended.exchange, ended.origin.outlet.key(ended.origin.client)
            if key not in self._senders:
                opened = ended.origin.outlet.open(ended.origin.client, ended.exchange)
                self._senders[key] = opened
            self._senders[key].send(_routing_key(), _encoded(ended))
            self._pause = _FIRST_PAUSE
        except Exception as error:  # noqa: BLE001 - whatever a client raises, the next one may go
            self._fail(key, error)

    def _fail(self, key: Hashable, error: Exception) -> None:
        self._drop()
        sender = self._senders.pop(key, None)
        if sender is not None:
            with suppress(Exception):
                sender.close()
        logger().warning(
            "reports of handlers cannot be sent, next try in %.0f s: %s",
            self._pause,
            describe(error),
        )
        self._closed_until = self._clock() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _drop(self) -> None:
        self.dropped += 1


def _flush_at_the_end_of_a_child(flush: Callable[[], None]) -> None:
    """Let a child of multiprocessing flush, too: it runs nothing of `atexit`."""
    util: Any = sys.modules.get("multiprocessing.util")  # where it is a child, it is loaded
    if util is not None:
        util.Finalize(None, flush, exitpriority=0)


def _routing_key() -> str:
    # AMQP counts bytes (4.2.5.3): a character that is cut in two goes as a whole.
    return service_name().encode()[:_MOST_ROUTING_KEY].decode(errors="ignore")


def _encoded(ended: Ended) -> bytes:
    origin = ended.origin
    record = {
        "context": _plain(ended.context),
        "message_id": origin.message_id,
        "correlation_id": origin.correlation_id,
        "exchange": origin.exchange,
        "routing_key": origin.routing_key,
        "redelivered": origin.redelivered,
        "consumer_tag": origin.consumer_tag,
        "connection": origin.connection,
        "service": service_name(),
        "handler": ended.handler,
        "outcome": ended.outcome,
        "error": ended.error,
        "began_at": ended.began_at,
        "duration": ended.duration,
        "published": ended.published,
    }
    return msgspec.json.encode(record, enc_hook=str)


def _plain(context: Context) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in context.propagated().items():
        with suppress(MqctxError):
            plain[name] = as_plain(name, value)
    return plain


reporter = Reporter()
"""The one of this process."""
os.register_at_fork(after_in_child=reporter.forked)
# Its thread is a daemon, which the interpreter ends in the middle of what it does.
atexit.register(reporter.flush)
