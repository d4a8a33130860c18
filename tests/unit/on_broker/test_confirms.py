"""How long the copy of a dead letter is waited for."""

from collections.abc import Iterator
from typing import Any

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from mqctx.adapters import _pika_outbox, pika
from tests.drivers.on_pika import pika_channel
from tests.integration.settling import Bench, bench


@pytest.fixture
def orders(amqp_url: str) -> Iterator[Bench]:
    with bench(amqp_url) as made:
        yield made


def test_pika_does_not_wait_for_ever_for_a_confirm(
    amqp_url: str,
    orders: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    orders.bind()
    orders.publish(b"1")

    def is_never_confirmed(channel: Any, *_: Any, **__: Any) -> None:
        channel._flush_output(lambda: False)
        raise AssertionError

    monkeypatch.setattr(_pika_outbox, "CONFIRM_SECONDS", 0.05)
    monkeypatch.setattr(BlockingChannel, "basic_publish", is_never_confirmed)
    with pika_channel(amqp_url) as channel:
        delivery = channel.basic_get(orders.queue)
        with pika.settled(channel, *delivery, dead_letter=orders.exchange):
            raise ValueError("no such order")
        assert channel.is_open
    assert "it was not confirmed within" in caplog.text
    assert orders.take_back().body == b"1"
