"""The demo on RabbitMQ, where it is interrupted or something in it fails."""

import secrets
from pathlib import Path
from unittest.mock import Mock

import pika
import pytest
from click.testing import CliRunner
from pika.exceptions import ChannelClosedByBroker

from mqctx.cli import commands
from mqctx.inspection import BrokerError, RefusedError
from tests.integration.broker import Broker


@pytest.fixture(autouse=True)
def _management(broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # where the page goes
    monkeypatch.setenv("MQCTX_MANAGEMENT_URL", broker.management)


@pytest.mark.parametrize("interruption", [None, ZeroDivisionError, KeyboardInterrupt])
def test_nothing_stays_on_the_broker(
    amqp_url: str, interruption: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = secrets.token_hex(4)
    monkeypatch.setattr(secrets, "token_hex", lambda _: run)
    if interruption is not None:
        monkeypatch.setattr("mqctx.cli._demo.on_aio_pika.serve", Mock(side_effect=interruption))

    result = CliRunner().invoke(commands, ["demo", "--broker", amqp_url])

    assert bool(result.exit_code) is (interruption is not None)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        for queue in ("orders", "shipping"):
            with pytest.raises(ChannelClosedByBroker, match="no queue"):
                connection.channel().queue_declare(f"mqctx-demo-{run}.{queue}", passive=True)
        with pytest.raises(ChannelClosedByBroker, match="no exchange"):
            connection.channel().exchange_declare(f"mqctx-demo-{run}.reports", passive=True)


def is_there(amqp_url: str, queue: str) -> bool:
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        try:
            connection.channel().queue_declare(queue, passive=True)
        except ChannelClosedByBroker:
            return False
        return True


def test_a_message_that_does_not_come_back_makes_the_demo_fail(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mqctx.cli._demo.dead_letter._redrive", Mock())
    monkeypatch.setattr("mqctx.cli._demo.dead_letter.PATIENCE_SECONDS", 0.5)

    result = CliRunner().invoke(commands, ["demo", "--broker", amqp_url])

    assert "wrong: payments had 1 attempts at order 1002, 1 lamp, 1 in" in result.output
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(RefusedError(Mock()), 0), (BrokerError("gone"), 2), (KeyboardInterrupt(), 130)],
)
def test_a_look_that_fails_leaves_no_queue_behind(
    amqp_url: str, error: BaseException, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = secrets.token_hex(4)
    monkeypatch.setattr(secrets, "token_hex", lambda _: run)
    monkeypatch.setattr("mqctx.cli._demo.dead_letter._inspect", Mock(side_effect=error))

    result = CliRunner().invoke(commands, ["demo", "--broker", amqp_url])

    assert result.exit_code == exit_code
    assert ("no look is safe" in result.output) is (exit_code == 0)
    names = [f"mqctx-demo-{run}.payments{end}" for end in ("", ".dead")]
    assert [is_there(amqp_url, name) for name in names] == [False, False]
