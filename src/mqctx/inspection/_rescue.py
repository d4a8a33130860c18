"""Read a queue by copies: each message is taken off it once its copy is at the queue's end.

For queues that count how often a message comes back: these copies were never given out.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from mqctx.inspection._connection import Delivery
from mqctx.inspection._message import Message
from mqctx.inspection._publisher import Fate, Outcome, Publisher
from mqctx.inspection._queue_channel import QueueChannel
from mqctx.inspection._window import Window

__all__ = ["Kept", "Rescue"]

_BROKERS_OWN: Final = ("x-delivery-count", "x-acquired-count")
_COPIES_TO_OTHERS: Final = ("CC", "BCC")


class Kept(NamedTuple):
    """A message that could not be copied: it is put back, which counts."""

    tag: int
    reason: str


class Rescue:
    """Copies to the end of one queue.

    Args:
        channel: The one that the messages were read on.
        publisher: On the same connection.
        queue: Its name.
        user: The connection's: RabbitMQ takes no message of another one's (`user_id`).
    """

    def __init__(self, channel: QueueChannel, publisher: Publisher, queue: str, user: str) -> None:
        self._channel = channel
        self._publisher = publisher
        self._queue = queue
        self._user = user
        self._tags: dict[int, int] = {}
        self._window = Window()
        self.copied: int = 0
        self.kept: list[Kept] = []

    def take(self, delivery: Delivery | Message) -> None:
        """Send a copy of a message; with each hundredth, or 8 MiB, take all off the queue.

        Raises:
            pika.exceptions.AMQPError: channel or connection is closed.
        """
        # RabbitMQ refuses a foreign one (406), and closes the channel with all that is held on it.
        owner = delivery.header.get("user_id")
        if owner not in (None, self._user):
            self.kept.append(Kept(delivery.tag, f"it was sent by the user {owner!r}"))
            return
        # Without its counts, it begins anew; with CC, other queues would get it again.
        header = delivery.header.without_headers(_BROKERS_OWN + _COPIES_TO_OTHERS)
        number = self._publisher.send("", self._queue, header, delivery.body)
        self._tags[number] = delivery.tag
        self._window.add(delivery.body)
        if self._window.is_full:
            self.finish()

    def finish(self) -> None:
        """Wait until all copies are confirmed, and take off the queue what was copied.

        Raises:
            pika.exceptions.AMQPError: channel or connection is closed.
        """
        for outcome in self._publisher.rest():
            self._note(self._tags.pop(outcome.number), outcome)
        self._window.clear()
        self._channel.settle()

    def _note(self, tag: int, outcome: Outcome) -> None:
        if outcome.fate is Fate.ARRIVED:
            self._channel.acknowledge(tag)
            self.copied += 1
        else:
            self.kept.append(Kept(tag, outcome.reason or outcome.fate.value))

    def reasons(self) -> Iterator[str]:
        """Yield a line for each reason why messages were kept, with their number."""
        for reason, count in Counter(kept.reason for kept in self.kept).items():
            were = "was" if count == 1 else "were"
            yield f"{count} could not be copied, and {were} put back: {reason}"
