"""Deliveries as they are cut out of what comes by the socket, and held."""

from struct import pack
from typing import Any

import pika
import pytest
from pika import frame, spec

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection._arrivals import Arrival, Arrivals, cut
from mqctx.inspection._journeys._backlog import Backlog

CHANNEL = 7
TAKEN = (b"one", b"", b"three" * 100)


def delivered(*bodies: bytes, channel: int = CHANNEL, most: int = 64) -> bytes:
    """Return messages as RabbitMQ sends them to a consumer."""
    return b"".join(_delivered(each, channel, most) for each in bodies)


def _delivered(body: bytes, channel: int, most: int) -> bytes:
    deliver: Any = spec.Basic.Deliver
    method = deliver("tag", 1, False, "ex", "key")
    sent: Any = frame.Method(channel, method)
    header: Any = frame.Header(channel, len(body), pika.BasicProperties(message_id="m"))
    parts: list[Any] = [sent, header]
    parts += [frame.Body(channel, body[at : at + most]) for at in range(0, len(body), most)]
    return b"".join(each.marshal() for each in parts)


@pytest.mark.parametrize("size", [1, 9, 100, 10_000])
def test_messages_are_whole_however_their_bytes_come(size: int) -> None:
    arrived: list[Arrival] = []
    channels = {CHANNEL: Arrivals(arrived.append)}
    data, buffer = delivered(*TAKEN), b""
    for at in range(0, len(data), size):
        buffer += data[at : at + size]
        buffer = buffer[cut(buffer, channels) :]
    assert buffer == b""
    assert tuple(each.body for each in arrived) == TAKEN
    assert {each.came_by for each in arrived} == {("ex", "key")}
    assert {each.receipt for each in arrived} == {(1, False)}
    assert [ContentHeader(each.properties).get("message_id") for each in arrived] == ["m"] * 3


@pytest.mark.parametrize(
    "others",
    [
        delivered(b"x", channel=CHANNEL + 1),
        pack(">BHI", spec.FRAME_METHOD, CHANNEL, 4) + b"\0\x3c\0\x15\xce",  # of the same class
        frame.Body(CHANNEL, b"of what was asked for").marshal(),
        frame.Heartbeat().marshal(),
        # A frame without its end: pika says so.
        pack(">BHI", spec.FRAME_METHOD, CHANNEL, 4) + spec.Basic.Deliver.INDEX.to_bytes(4) + b"?",
    ],
)
def test_frames_of_anything_else_are_left_alone(others: bytes) -> None:
    arrived: list[Arrival] = []
    channels = {CHANNEL: Arrivals(arrived.append)}
    assert cut(delivered(b"1") + others, channels) == len(delivered(b"1"))
    assert cut(others, channels) == 0
    assert cut(delivered(b"2"), channels) == len(delivered(b"2"))
    assert [each.body for each in arrived] == [b"1", b"2"]


def _arrival(body: bytes) -> Arrival:
    return Arrival(b"", b"", body)


class TestBacklog:
    def test_drops_the_oldest_events_beyond_its_limit_and_counts_them(self) -> None:
        backlog: Any = Backlog(2, _body_of)
        for number in range(5):
            backlog.add(_arrival(b"%d" % number))
        assert (backlog.received, backlog.dropped, len(backlog)) == (5, 3, 2)
        assert backlog.take(9) == [b"3", b"4"]
        assert (backlog.taken, len(backlog)) == (2, 0)

    def test_drops_the_oldest_events_beyond_so_many_bytes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mqctx.inspection._journeys._backlog._MOST_BYTES", 10)
        backlog: Any = Backlog(100, _body_of)
        for body in (b"12345", b"67890", b"1"):
            backlog.add(_arrival(body))
        assert backlog.take(9) == [b"67890", b"1"]
        assert backlog.dropped == 1

    def test_tells_when_an_event_came_and_up_to_when_all_were_taken(self) -> None:
        times = iter([1.0, 2.0, 3.0])
        backlog: Any = Backlog(100, _time_of, lambda: next(times))
        backlog.add(_arrival(b""))
        backlog.add(_arrival(b""))
        assert backlog.now == 1.0
        assert backlog.take(1) == [1.0]
        assert backlog.now == 2.0
        assert backlog.take(1) == [2.0]
        assert backlog.now == 3.0

    def test_hands_out_nothing_of_what_tells_nothing(self) -> None:
        backlog: Any = Backlog(100, _nothing)
        backlog.add(_arrival(b""))
        assert backlog.take(1) == []
        assert backlog.taken == 1


def _body_of(arrival: Arrival, _: float) -> Any:
    return arrival.body


def _time_of(_: Arrival, at: float) -> Any:
    return at


def _nothing(*_: object) -> None:
    return None
