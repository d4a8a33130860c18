"""`mqctx trace` on real brokers: what it finds, and the broker as it was found."""

import signal
from typing import Any

import pytest
from click.testing import CliRunner

from mqctx.cli import commands

from .traced import Command, OnNewerBroker, Vhost, lines, send, until


class TestBroker:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_is_as_it_was_after_a_signal(self, vhost: Vhost, number: int, channel: Any) -> None:
        before = vhost.state()
        command = Command(vhost, "--json")
        until(lambda: vhost.is_traced)
        send(channel, "orders")
        code, out, err = command.end(number)
        assert code == 0, err
        assert [each["kind"] for each in lines(out)] == ["publish", "delivery", "summary"]
        assert vhost.state() == before
        assert vhost.leftovers() == []

    def test_is_repaired_after_a_kill(self, vhost: Vhost) -> None:
        before = vhost.state()
        command = Command(vhost)
        until(lambda: vhost.is_traced)
        command.end(signal.SIGKILL)
        assert vhost.is_traced
        until(lambda: vhost.leftovers() == ["mqctx.trace"])
        code, out, err = Command(vhost, "--off").wait()
        assert (code, out) == (0, "")
        assert "tracing is off again" in err
        assert vhost.state() == before
        assert vhost.leftovers() == []


@pytest.mark.full
class TestNewerBroker(OnNewerBroker, TestBroker):
    """The same on RabbitMQ 4.3."""


class TestTrace:
    def test_shows_the_journeys_that_were_asked_for(self, vhost: Vhost, channel: Any) -> None:
        command = Command(vhost, "--where", "tenant=acm*", "--no-color")
        until(lambda: vhost.is_traced)
        send(channel, "orders")
        channel.basic_publish("amq.fanout", "", b"")
        code, out, err = command.end()
        assert code == 0, err
        title, publish, delivery, summary = out.splitlines()
        assert title == "r-1   request_id   tenant=acme"
        assert "published to queue orders" in publish
        assert "delivered from orders after" in delivery
        assert summary.startswith("1 journey, 1 publish, 1 delivery in ")
        assert summary.endswith("(0 inferred; 1 without context; 0 events dropped)")

    def test_ends_once_so_many_messages_are_shown(self, vhost: Vhost, channel: Any) -> None:
        command = Command(vhost, "--limit", "1", "--json")
        until(lambda: vhost.is_traced)
        for _ in range(3):
            send(channel, "orders")
            channel.basic_publish("amq.fanout", "", b"")
        code, out, err = command.wait()
        assert code == 0, err
        assert [each["kind"] for each in lines(out)] == ["publish", "summary"]

    @pytest.mark.parametrize(
        ("arguments", "hint"),
        [
            (["--broker", "http://x"], "not an amqp: or amqps: URL"),
            (["--tap", ""], "the default exchange cannot be tapped"),
            (["--routing-key", "k"], "goes with --tap"),
            (["--where", "tenant"], "NAME=VALUE"),
            (["--html", "one", "--otlp", "./one"], "need a file each"),
        ],
    )
    def test_that_makes_no_sense_is_a_usage_error(self, arguments: list[str], hint: str) -> None:
        result = CliRunner().invoke(commands, ["trace", *arguments])
        assert result.exit_code == 2
        assert hint in result.stderr

    def test_of_a_broker_that_is_not_there_is_one_line(self) -> None:
        url = "amqp://guest:secret@127.0.0.1:1/"
        result = CliRunner().invoke(commands, ["trace", "--broker", url, "--seconds", "1"])
        assert result.exit_code == 1
        assert "cannot reach RabbitMQ at 127.0.0.1:1" in result.stderr
        assert "secret" not in result.output
