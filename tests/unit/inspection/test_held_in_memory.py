"""How much of the messages is held in memory while they are settled."""

from collections.abc import Callable
from typing import Any

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection._connection import Delivery
from mqctx.inspection._publisher import Fate, Outcome
from mqctx.inspection._reader import Reader
from mqctx.inspection._rescue import Rescue

MIB = 2**20
LARGE = bytes(MIB)


class Channel:
    """One on a queue of small messages, behind which there are large ones."""

    def __init__(self, small: int, large: int) -> None:
        self.bodies = [b"x"] * small + [LARGE] * large
        self.settled = 0

    def ready(self) -> tuple[int, int]:
        return len(self.bodies), 0

    def consume(self, prefetch: int, _: object, arrives: Callable[[Delivery], None]) -> str:
        for body in self.bodies[:prefetch]:
            arrives(Delivery(1, "", "q", False, ContentHeader(b"\0\0"), body))
        del self.bodies[:prefetch]
        return "consumer"

    def settle(self) -> None:
        self.settled += 1

    def wake(self) -> None: ...
    def cancel(self, _: str) -> None: ...
    def acknowledge(self, _: int) -> None: ...


class Publisher:
    """Confirms all that it was given, once it is asked."""

    def __init__(self) -> None:
        self.outstanding: list[bytes] = []
        self.sent = 0

    def send(self, *message: Any) -> int:
        self.outstanding.append(message[-1])
        self.sent += 1
        return self.sent

    def rest(self) -> list[Outcome]:
        first = self.sent - len(self.outstanding) + 1
        self.outstanding.clear()
        return [Outcome(number, Fate.ARRIVED) for number in range(first, self.sent + 1)]


def test_of_a_rescue_no_more_than_its_window_and_what_comes_at_once() -> None:
    channel: Any = Channel(small=20, large=180)
    publisher: Any = Publisher()
    rescue = Rescue(channel, publisher, "q", "guest")
    most_under_way, most_at_once = 0, 0
    left = len(channel.bodies)
    for delivery in Reader(channel, seconds=60, settling=True).deliveries():
        most_at_once = max(most_at_once, left - len(channel.bodies))
        left = len(channel.bodies)
        rescue.take(delivery)
        most_under_way = max(most_under_way, sum(map(len, publisher.outstanding)))
    rescue.finish()
    assert rescue.copied == 200
    assert most_at_once <= 16
    assert most_under_way < 9 * MIB


def test_small_messages_are_copied_by_the_hundred() -> None:
    channel: Any = Channel(small=200, large=0)
    publisher: Any = Publisher()
    rescue = Rescue(channel, publisher, "q", "guest")
    for delivery in Reader(channel, seconds=60, settling=True).deliveries():
        rescue.take(delivery)
    assert (rescue.copied, channel.settled) == (200, 2)
