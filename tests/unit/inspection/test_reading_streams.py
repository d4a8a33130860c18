"""A stream that gives messages out which come before those that were asked for."""

from collections.abc import Callable, Mapping
from typing import Any

import pika

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection._connection import Delivery
from mqctx.inspection._reader import Reader

LENGTH = 700


class Stream:
    """One whose second consumer begins `early` messages before the offset that it asks for."""

    def __init__(self, early: int) -> None:
        self.early = early
        self.asked: list[object] = []

    def ready(self) -> tuple[int, int]:
        return LENGTH, 0

    def consume(
        self, prefetch: int, arguments: Mapping[str, Any], arrives: Callable[[Delivery], None]
    ) -> str:
        offset = arguments["x-stream-offset"]
        self.asked.append(offset)
        early = self.early if len(self.asked) == 2 else 0
        first = 0 if offset == "first" else offset - early
        for number in range(first, min(LENGTH, first + prefetch)):
            arrives(message(number))
        return "consumer"

    def wake(self) -> None: ...
    def cancel(self, _: str) -> None: ...


def message(offset: int) -> Delivery:
    properties: Any = pika.BasicProperties(headers={"x-stream-offset": offset})
    header = ContentHeader(b"".join(properties.encode()))
    return Delivery(offset, "", "stream", False, header, b"%d" % offset)


def test_gives_each_message_once_though_a_consumer_begins_too_early() -> None:
    stream: Any = Stream(early=5)
    reader = Reader(stream, seconds=60, stream=True)
    assert [int(each.body) for each in reader.deliveries()] == [*range(LENGTH)]
    assert reader.taken == LENGTH
    assert stream.asked[0] == "first"
    assert len(stream.asked) > 2
