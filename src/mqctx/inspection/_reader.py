"""Take messages from a queue one after another, hold them, and give all back in the end.

A consumer gets as many messages as its prefetch allows, and then nothing more, since nothing is
acknowledged. So the next one takes its place, on the same channel: the broker counts a prefetch
for each consumer. `basic.get` would take 30 times as long, and streams refuse it.
"""

import time
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, Final

from mqctx.inspection._connection import Delivery
from mqctx.inspection._queue_channel import QueueChannel
from mqctx.inspection._window import MOST_BYTES

__all__ = ["LIMIT_OF_PREFETCH", "Reader"]

# `basic.qos` has 16 bits for it (AMQP 0-9-1).
LIMIT_OF_PREFETCH: Final = 50_000
# Few at first: whoever looks at one message need not hold 50,000 of them.
_FIRST_PREFETCH: Final = 250
_GROWTH: Final = 4
_FEW: Final = 16
"""The most messages at once for one who settles them: they are in memory, whatever their size."""
_PATIENCE: Final = 3.0
"""The seconds after which a queue that has messages and gives none is left."""


class Reader:
    """The messages that are in a queue now, each once, in their order.

    Args:
        channel: On the queue.
        stream: Whether the queue is a stream, which is read from its first message.
        settling: Whether messages are settled meanwhile. Then few come at once, fewer where they
            are large, and none while those are given out: a consumer gets new ones for what was
            acknowledged.
        seconds: For so long messages may be held.
    """

    def __init__(
        self,
        channel: QueueChannel,
        *,
        seconds: float,
        stream: bool = False,
        settling: bool = False,
    ) -> None:
        self.channel = channel
        self._is_stream = stream
        self._is_settling = settling
        self._bytes = 0
        """The size of what came last, for one who settles."""
        self._deadline = time.monotonic() + seconds
        self._arrived: deque[Delivery] = deque()
        self._wanted = 1
        self._consumer: str | None = None
        self._offset = -1
        self._stopped = False
        self.there: int
        self.consumers: int
        self.there, self.consumers = channel.ready()
        """The messages that waited, and the consumers that were there, when the look began."""
        self.taken: int = 0
        """The messages that were given out so far."""
        self.is_drained: bool = False
        """Whether messages were left because nothing more came: others got them."""
        self.is_late: bool = False
        """Whether messages were left because time was up."""

    def stop(self) -> None:
        """Give out no more messages. May be called from a signal handler."""
        self._stopped = True

    def deliveries(self) -> Iterator[Delivery]:
        """Yield the messages that were in the queue at the beginning, none of them settled.

        Raises:
            pika.exceptions.AMQPError: channel or connection is closed.
            BrokerError: the queue is gone.
        """
        prefetch = _FEW if self._is_settling else _FIRST_PREFETCH
        while self.taken < self.there and not self._is_over():
            room = min(prefetch, self.there - self.taken)
            given = yield from self._deliveries_of_one_consumer(room)
            if given < room:
                self.is_drained = not self._is_over()
                return
            prefetch = self._next(prefetch)

    def _next(self, prefetch: int) -> int:
        """Return how many to take at once after so many."""
        if not self._is_settling:
            return min(prefetch * _GROWTH, LIMIT_OF_PREFETCH)
        # How large the next ones are, the last ones tell.
        return max(1, min(_FEW, prefetch * MOST_BYTES // max(1, self._bytes)))

    def _deliveries_of_one_consumer(self, prefetch: int) -> Generator[Delivery, None, int]:
        """Yield what a consumer gets until it may not get more, and return their number."""
        self._consumer = self.channel.consume(prefetch, self._arguments(), self._arrives)
        if self._is_settling:
            self._have_come(prefetch)
            self._cancel()
            self._bytes = sum(len(each.body) for each in self._arrived)
        given = 0
        while given < prefetch and self._have_come(1):
            given += 1
            if self._is_new(self._arrived[0]):
                yield self._take()
            else:
                self._arrived.popleft()
        self._cancel()
        return given

    def leftovers(self) -> Iterator[Delivery]:
        """Yield what has arrived and was not given out, and let nothing more come."""
        self._cancel()
        while self._arrived:
            yield self._take()

    def _take(self) -> Delivery:
        self.taken += 1
        return self._arrived.popleft()

    def _is_new(self, delivery: Delivery) -> bool:
        """Tell whether a message was not given out yet."""
        if not self._is_stream:
            return True
        # RabbitMQ 3.10, rarely, gives some of a stream out twice.
        last, self._offset = self._offset, max(self._offset, _offset_of(delivery))
        return self._offset > last

    def _arguments(self) -> dict[str, Any]:
        if not self._is_stream:
            return {}
        return {"x-stream-offset": self._offset + 1 if self._offset >= 0 else "first"}

    def _have_come(self, count: int) -> bool:
        """Wait for so many messages, or fewer if no more come; tell whether to give one out."""
        since = time.monotonic()
        self._wanted = count
        while self._lacks(count):
            before = len(self._arrived)
            self.channel.wait()
            if len(self._arrived) > before:
                since = time.monotonic()
            elif self._is_empty(since):
                break
        return bool(self._arrived) and not self._is_over()

    def _lacks(self, count: int) -> bool:
        return len(self._arrived) < count and self._consumer is not None and not self._is_over()

    def _is_empty(self, since: float) -> bool:
        """Tell whether nothing comes any more: others took the rest, or get it before us."""
        before = len(self._arrived)
        ready, _ = self.channel.ready()
        if len(self._arrived) > before:
            return False
        # A stream, of RabbitMQ 3.10 at least, may tell that it is empty when it is not.
        is_drained = not ready and not self._is_stream
        return is_drained or time.monotonic() - since > _PATIENCE

    def _is_over(self) -> bool:
        if self._stopped or self.is_late:
            return True
        self.is_late = time.monotonic() > self._deadline
        return self.is_late

    def _arrives(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)
        if len(self._arrived) == self._wanted:
            self.channel.wake()

    def _cancel(self) -> None:
        if self._consumer is not None:
            self.channel.cancel(self._consumer)
            self._consumer = None

    def release(self) -> None:
        """Put back all that is held, in its order, and close the channel.

        Raises:
            pika.exceptions.AMQPError: channel or connection is closed: the broker has put back all.
        """
        self._cancel()
        if not self._is_stream:
            self.channel.give_back()
        self.channel.close()


def _offset_of(delivery: Delivery) -> int:
    """Return the place of a message in its stream, which RabbitMQ tells in a header."""
    offset: Any = delivery.header.headers["x-stream-offset"]
    return int(offset)
