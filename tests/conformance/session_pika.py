"""pika: connections that call back, from their opening to their end."""

import asyncio
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from mqctx import current
from tests.conformance.model import AMBIENT
from tests.drivers.handling import SECONDS


class Session:
    """A connection with callbacks, from its opening to its end."""

    def __init__(self, on_channel: Callable[[Any], None], at_end: Callable[[], None]) -> None:
        self._on_channel = on_channel
        self._at_end = at_end
        self._end: BaseException | None = None
        self._active_at_end = AMBIENT
        self._finished = False
        self._connection: Any = None

    def callbacks(self) -> dict[str, Any]:
        """Return what the connection's constructor is to be called with."""
        return {
            "on_open_callback": self._on_open,
            "on_open_error_callback": self._on_end,
            "on_close_callback": self._on_end,
        }

    def finish(self) -> None:
        """Close the connection, because the last message is settled."""
        self._finished = True
        self._connection.close()

    def check(self) -> None:
        """Raise what ended the connection, if that was not `finish`."""
        if self._end is not None and not self._finished:
            raise self._end
        assert self._finished
        assert self._active_at_end == AMBIENT

    def _on_open(self, connection: Any) -> None:
        self._connection = connection
        connection.ioloop.call_later(SECONDS, self._give_up)
        connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Any) -> None:
        channel.basic_qos(prefetch_count=1, callback=lambda _: self._on_channel(channel))

    def _give_up(self) -> None:
        if self._connection.is_open:
            self._connection.close(320, "messages did not come")

    def _on_end(self, _: Any, reason: BaseException) -> None:
        self._end = reason
        self._active_at_end = current()
        self._at_end()


def run_select(url: str, on_channel: Callable[[Any, Session], None]) -> None:
    """Open a SelectConnection, and run its loop until it is closed."""
    session = Session(lambda channel: on_channel(channel, session), lambda: loop.stop())
    connection: Any = pika.SelectConnection(pika.URLParameters(url), **session.callbacks())
    loop = connection.ioloop
    loop.start()
    loop.close()
    session.check()


async def run_asyncio(url: str, on_channel: Callable[[Any, Session], None]) -> None:
    """Open an AsyncioConnection on the running loop, and wait until it is closed."""
    ended = asyncio.Event()
    session = Session(lambda channel: on_channel(channel, session), ended.set)
    AsyncioConnection(pika.URLParameters(url), **session.callbacks())
    await asyncio.wait_for(ended.wait(), 2 * SECONDS)
    session.check()
