"""The demo on RabbitMQ, with a client of its own for each service."""

import re
import secrets
from unittest.mock import Mock

import pika
import pytest
from click.testing import CliRunner
from pika.exceptions import ChannelClosedByBroker

from mqctx.cli._demo import on_aio_pika
from mqctx.cli._group import commands

CAST = {("web", "aio-pika"), ("legacy", "aio-pika"), ("billing", "pika"), ("shipping", "kombu")}


def test_each_handler_sees_its_request_across_three_clients(amqp_url: str) -> None:
    result = CliRunner().invoke(commands, ["demo", "--broker", amqp_url])

    cast = re.findall(r"^ *\d+  (\S+) +(\S+)", result.output, re.MULTILINE)
    assert set(cast) == CAST
    assert (
        "10 handlers ran: 8 in their request's context, "
        "2 rightly without, 0 mixed up." in result.output
    )
    assert result.exit_code == 0


@pytest.mark.parametrize("interruption", [None, ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("queue", ["orders", "shipping"])
def test_no_queue_stays_on_the_broker(
    amqp_url: str,
    interruption: type[BaseException] | None,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = secrets.token_hex(4)
    monkeypatch.setattr(secrets, "token_hex", lambda _: run)
    if interruption is not None:
        monkeypatch.setattr(on_aio_pika, "serve", Mock(side_effect=interruption))

    result = CliRunner().invoke(commands, ["demo", "--broker", amqp_url])

    assert bool(result.exit_code) is (interruption is not None)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        with pytest.raises(ChannelClosedByBroker, match="no queue"):
            channel.queue_declare(f"mqctx-demo-{run}.{queue}", passive=True)


def test_a_wrong_password_is_one_line_without_it(amqp_url: str) -> None:
    address = amqp_url.rpartition("@")[2]

    result = CliRunner().invoke(commands, ["demo", "--broker", f"amqp://guest:s3cret@{address}"])

    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert "ACCESS_REFUSED" in result.output
    assert "s3cret" not in result.output
