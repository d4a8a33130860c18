"""Further channels by which events come out of our queue while one is too few."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from pika.adapters.blocking_connection import BlockingConnection

from mqctx.inspection._arrivals import Arrival

__all__ = ["Valve", "do_nothing"]

_CHANNELS: Final = 7
_UNWRAPPED: Final = SimpleNamespace(is_open=False)
"""For `BlockingConnection.close`, which first closes the BlockingChannel that a channel is of."""


class Valve:
    """Let events come by more channels, or by none of these.

    RabbitMQ lets 200 messages be under way on a channel, which is too few where its cores are busy:
    events wait in its queue, and before it, each at a multiple of its cost. But those of several
    channels come in another order.

    Nothing here waits for an answer: a busy queue gives it when it has seen what came before. The
    channels stay open, since RabbitMQ may forget what it has counted of one that is gone.

    Args:
        connection: The connection.
        queue: Our queue.
        take: Takes what comes.
    """

    def __init__(
        self, connection: BlockingConnection, queue: str, take: Callable[[Arrival], None]
    ) -> None:
        blocking: Any = connection
        self._connection = blocking._impl  # which does not wait
        self._queue = queue
        self._take = take
        self._is_wanted = False
        self._channels: dict[int, Any] = {}
        self._consuming: list[tuple[Any, str]] = []
        self.under_way = 0
        """By how many channels events may come."""

    def open(self) -> None:
        """Let events come by more channels, once those of the last time have ended."""
        self._is_wanted = True
        if self.under_way:
            return
        self.under_way = _CHANNELS
        for number in range(1, _CHANNELS + 1):
            if number in self._channels:
                self._consume(number)
            else:
                self._connection.channel(on_open_callback=partial(self._begin, number))

    def close(self) -> None:
        """Let no more come: all that was sent comes before the consumer has ended."""
        self._is_wanted = False
        while self._consuming:
            channel, consumer = self._consuming.pop()
            channel.basic_cancel(consumer, callback=self._end)

    def _begin(self, number: int, channel: Any) -> None:
        channel._set_cookie(_UNWRAPPED)
        self._connection.stream(channel.channel_number, self._take)
        self._channels[number] = channel
        self._consume(number)

    def _consume(self, number: int) -> None:
        channel = self._channels[number]
        # A channel gets what those before have no room for.
        priority = {"x-priority": -number}
        consumer = f"mqctx.trace.{number}"  # others count theirs from 1
        channel.basic_consume(
            self._queue, do_nothing, auto_ack=True, consumer_tag=consumer, arguments=priority
        )
        self._consuming.append((channel, consumer))
        if not self._is_wanted:
            self.close()

    def _end(self, _: object) -> None:
        self.under_way -= 1


def do_nothing(*_: object) -> None:
    """Do nothing: what is delivered does not come to pika's consumer."""
