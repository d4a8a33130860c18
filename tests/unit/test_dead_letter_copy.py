"""The copy of a message for its dead-letter exchange, as bytes."""

import pytest

from mqctx._amqp.content_header import ContentHeader
from mqctx._failures.record import Failure
from mqctx.adapters._copy import Copy, Received, attempt, copy
from mqctx.adapters._dead_letter import DeadLetter
from mqctx.adapters._settling import NotSentError

FAILURE = Failure(type="ValueError", message="no", at="2026-01-01T00:00:00Z")


def header(**headers: str) -> ContentHeader:
    """Return properties with these headers."""
    made = ContentHeader()
    for name, text in headers.items():
        made = made.with_header(name, text)
    return made


def with_user(made: ContentHeader, user: bytes) -> ContentHeader:
    flags = int.from_bytes(made.raw[:2]) | 1 << 4
    return ContentHeader(flags.to_bytes(2) + made.raw[2:] + bytes([len(user)]) + user)


TO_DLX = DeadLetter("dlx")


def copied(made: ContentHeader, to: DeadLetter = TO_DLX, frame_max: int = 131_072) -> Copy:
    received = Received(made.raw, b"42", "orders", "new", redelivered=False)
    return copy(received, to, FAILURE, user="ada", frame_max=frame_max)


def test_is_the_message_with_the_reason() -> None:
    made = copied(header(a="1", b="2"))
    assert (made.exchange, made.routing_key, made.body) == ("dlx", "new", b"42")
    assert list(ContentHeader(made.properties).headers) == ["a", "b", "mqctx-failure"]


def test_has_another_routing_key_if_told() -> None:
    assert copied(header(), DeadLetter("dlx", routing_key="dead")).routing_key == "dead"


def test_replaces_an_earlier_reason_in_its_place() -> None:
    made = ContentHeader(copied(header(a="1", **{"mqctx-failure": "{}"}, b="2")).properties)
    assert list(made.headers) == ["a", "mqctx-failure", "b"]
    assert Failure.from_header(made.headers["mqctx-failure"]) == FAILURE


def test_lacks_what_would_deliver_it_elsewhere() -> None:
    made = ContentHeader(copied(header(CC="x", BCC="y", cc="kept")).properties)
    assert list(made.headers) == ["cc", "mqctx-failure"]


@pytest.mark.parametrize(("user", "kept"), [(b"ada", "ada"), (b"eve", None)])
def test_keeps_the_user_only_if_it_is_the_connections(user: bytes, kept: str | None) -> None:
    made = ContentHeader(copied(with_user(header(a="1"), user)).properties)
    assert made.get("user_id") == kept


def test_leaves_the_reason_out_where_a_frame_has_no_room_beside_the_brokers() -> None:
    made = header(a="x" * 4000)
    assert copied(made, frame_max=8192).properties == made.raw
    assert len(copied(made, frame_max=0).properties) > len(made.raw)


def test_is_not_sent_where_no_frame_holds_it() -> None:
    """The broker would close the connection."""
    with pytest.raises(NotSentError, match="a frame has 4076"):
        copied(header(a="x" * 4080), frame_max=4096)


def test_is_not_sent_where_it_came_from() -> None:
    with pytest.raises(NotSentError, match="would again"):
        copied(header(), DeadLetter("orders"))
    assert copied(header(), DeadLetter("orders", routing_key="dead")).exchange == "orders"


def test_origin_is_what_delivery_and_headers_tell() -> None:
    made = header(**{"mqctx-failure": "{}"})
    origin = Received(made.raw, b"", "orders", "new", redelivered=True).origin("in")
    assert (origin.exchange, origin.routing_key, origin.queue) == ("orders", "new", "in")
    assert (origin.earlier, origin.attempt) == ("{}", 2)


@pytest.mark.parametrize(
    ("headers", "redelivered", "expected"),
    [
        ({}, False, 1),
        ({"x-delivery-count": 9}, False, 1),  # of another queue
        ({}, True, 2),
        ({"x-delivery-count": 2}, True, 3),
        ({"x-acquired-count": 3, "x-delivery-count": 2}, True, 4),
        ({"x-acquired-count": 1, "x-delivery-count": 30}, True, 2),
        ({"x-delivery-count": "2"}, True, 2),
        ({"x-delivery-count": True}, True, 2),
        ({"x-delivery-count": -1}, True, 2),
    ],
)
def test_attempt_is_what_the_broker_tells(
    headers: dict[str, object], redelivered: bool, expected: int
) -> None:
    assert attempt(headers, redelivered=redelivered) == expected
