"""Events out of a queue of our own, by one channel or more, on a real broker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from mqctx.inspection import Broker as Address
from mqctx.inspection._arrivals import Arrival
from mqctx.inspection._connection import connected
from mqctx.inspection._journeys import _source
from mqctx.inspection._journeys._backlog import Backlog
from mqctx.inspection._journeys._source import Source
from tests.drivers.on_pika import pika_channel

MANY = 1_500
EXCHANGE = "amq.topic"


class Events:
    """A source, and what came out of it."""

    def __init__(self, url: str, connection: Any, queue: str) -> None:
        self.came: list[tuple[str, int]] = []
        """The consumer, and the number in the body, of each."""
        self.backlog = Backlog(10 * MANY, self.note)
        self.source = Source(
            connection, queue, self.backlog, buffer=10 * MANY, exchange=EXCHANGE, routing_key=queue
        )
        self.url, self.queue = url, queue
        self.sent = 0

    def note(self, arrival: Arrival, _: float) -> None:
        self.came.append((arrival.consumer, int(arrival.body)))

    def send(self, count: int = MANY) -> None:
        with pika_channel(self.url) as channel:
            for _ in range(count):
                channel.basic_publish(EXCHANGE, self.queue, b"%d" % self.sent)
                self.sent += 1

    def receive(self, enough: Callable[[], bool]) -> None:
        until = monotonic() + 20
        while not enough():
            assert monotonic() < until
            self.source.receive(0.1)
            self.backlog.take(MANY)

    def receive_all(self) -> None:
        self.receive(lambda: len(self.came) == self.sent)
        assert sorted(number for _, number in self.came) == [*range(self.sent)]


@contextmanager
def events(url: str, queue: str) -> Iterator[Events]:
    with connected(Address.parse(url), "test") as connection:
        yield Events(url, connection, queue)


def connection_of(events: Events) -> Any:
    return events.source._connection._impl


def test_come_by_more_channels_while_many_wait_and_by_one_again_when_none_do(
    amqp_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_source, "_REST", 0)
    with events(amqp_url, queue_name) as got:
        got.send(10)
        got.receive_all()
        got.source.pause()
        got.send()
        assert got.source.look() == MANY
        got.receive(lambda: len(got.came) > 10)
        assert {consumer for consumer, _ in got.came[10:]}.isdisjoint({"mqctx.trace"})
        got.source.resume()
        got.receive_all()
        got.source.look()  # which sees that many came
        got.receive(lambda: not got.source.look() and not got.source._valve.under_way)
        got.came.clear()
        got.sent = 0
        got.send(10)
        got.receive_all()
        assert {consumer for consumer, _ in got.came} == {"mqctx.trace"}
        channels = len(connection_of(got)._channels)
        got.source.pause()
        got.send()
        got.source.look()
        got.receive_all()
        assert {consumer for consumer, _ in got.came[10:]}.isdisjoint({"mqctx.trace"})
        assert len(connection_of(got)._channels) == channels


def test_are_each_there_or_counted_as_left_when_more_channels_are_paused(
    amqp_url: str, queue_name: str
) -> None:
    with events(amqp_url, queue_name) as got:
        got.source.pause()
        got.send()
        got.source.look()
        under_way = got.source._valve.under_way
        got.source._valve.open()  # as by another look at once
        assert got.source._valve.under_way == under_way
        left = got.source.pause()  # before a channel is open, or when all of them are
        assert got.source._valve.under_way == 0
        got.backlog.take(MANY)
        assert len(got.came) + left == MANY
        got.source.resume()
        got.receive_all()
