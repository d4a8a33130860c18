"""The demo on RabbitMQ, with a client of its own for each service."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mqctx.cli import commands

from .broker import Broker
from .traced import Vhost

CAST = {("web", "aio-pika"), ("legacy", "aio-pika"), ("billing", "pika"), ("shipping", "kombu")}


@pytest.fixture(autouse=True)
def _management(broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # where the page goes
    monkeypatch.setenv("MQCTX_MANAGEMENT_URL", broker.management)


def test_each_handler_sees_its_request_across_three_clients(vhost: Vhost) -> None:
    result = CliRunner().invoke(commands, ["demo", "--broker", vhost.url])

    story = result.output.partition("10 handlers ran")[0]
    cast = re.findall(r"^ *\d+  (\S+) +(\S+)", story, re.MULTILINE)
    assert set(cast) == CAST
    assert (
        "10 handlers ran: 8 in their request's context, "
        "2 rightly without, 0 mixed up." in result.output
    )
    assert result.exit_code == 0


def test_a_wrong_password_is_one_line_without_it(amqp_url: str) -> None:
    address = amqp_url.rpartition("@")[2]

    result = CliRunner().invoke(commands, ["demo", "--broker", f"amqp://guest:s3cret@{address}"])

    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert "ACCESS_REFUSED" in result.output
    assert "s3cret" not in result.output


def test_an_order_that_fails_is_inspected_sent_back_and_handled(
    vhost: Vhost, tmp_path: Path
) -> None:
    result = CliRunner().invoke(commands, ["demo", "--broker", vhost.url])

    second = result.output.partition("One order fails.")[2]
    assert re.findall(r"payments +pika +(\S+) order 1002, 1 lamp +r-1 +ada +acme", second) == [
        "fails",
        "bills",
    ]
    assert re.search(r"^acme +1 +1 +mqctx-demo-\w+\.payments ", second, re.MULTILINE)
    assert "1  TimeoutError: the bank is silent" in second
    assert "1 was sent, 0 stay" in second
    assert "2 of 2 attempts in its request's context." in second
    _, _, tree = second.partition("\nr-1 ")
    assert "handled by payments on_order: raised TimeoutError in" in tree
    assert tree.count("delivered from payments.dead after") == 2
    assert re.search(r"^3 journeys, 13 publishes, 12 runs of handlers;", tree, re.MULTILINE)
    page = (tmp_path / "mqctx-demo.html").read_text()
    assert '"error":"TimeoutError"' in page
    assert max(map(len, result.output.splitlines())) < 80
    assert result.exit_code == 0


def test_without_a_management_api_a_line_says_what_is_left_out(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQCTX_MANAGEMENT_URL", "http://127.0.0.1:1")

    result = CliRunner().invoke(commands, ["demo", "--broker", amqp_url])

    assert result.output.splitlines()[-3:-1] == [
        "Left out, an order that fails, is inspected and sent back: no management API",
        "Left out, the journey of each request: no management API",
    ]
    assert result.exit_code == 0
