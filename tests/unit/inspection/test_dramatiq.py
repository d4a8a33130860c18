"""Dead letters of dramatiq, whose context and last failure are in the body."""

import json
from typing import Any

import pytest

from mqctx.inspection import Message

from .messages import message

TRACEBACK = """Traceback (most recent call last):
  File "shop.py", line 3, in bill
    raise KeyError(1)
KeyError: 1

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "shop.py", line 5, in bill
    raise shop.CardExpired("of order 7\\nsee below")
shop.CardExpired: of order 7
see below
"""
HEADER = '{"tenant":"acme"}'


def sent(headers: dict[str, Any] | None = None, **options: Any) -> Message:
    body: dict[str, Any] = {"queue_name": "bills", "actor_name": "bill", "args": [7], "kwargs": {}}
    body |= {"options": options, "message_id": "m-1", "message_timestamp": 1}
    return message(headers, body=json.dumps(body).encode())


def test_the_context_is_that_of_the_options() -> None:
    assert sent(mqctx=HEADER).plain_context == {"tenant": "acme"}
    assert [each.reason for each in sent(mqctx="garbage").rejections] == ["malformed"]


def test_a_context_in_the_headers_counts_more() -> None:
    assert sent({"mqctx": '{"tenant":"b"}'}, mqctx=HEADER).plain_context == {"tenant": "b"}


def test_the_traceback_of_a_retry_tells_why() -> None:
    assert sent(traceback=TRACEBACK, retries=2).failure == {
        "system": "dramatiq",
        "handler": "bill",
        "type": "shop.CardExpired",
        "message": "of order 7",
        "traceback": TRACEBACK.rstrip(),
        "attempt": 2,
    }


def test_a_traceback_that_names_nothing_is_shown_all_the_same() -> None:
    failure = sent(traceback="lost").failure
    assert failure == {"system": "dramatiq", "handler": "bill", "traceback": "lost"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"queue_name":',
        b'{"actor_name":"x","options":{"mqctx":"garbage"}}',
        b'{"queue_name":"q","actor_name":"x","message_id":"1","options":[]}',
        b'{"queue_name":"q","options":{"mqctx":"garbage"},"args":"' + b"x" * 65_536 + b'"}',
        b'{"queue_name":' + b"[" * 20_000,
    ],
)
def test_a_body_that_only_looks_alike_tells_nothing(body: bytes) -> None:
    found = message(body=body)
    assert (found.plain_context, found.failure, found.rejections) == ({}, None, ())
