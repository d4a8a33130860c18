"""The pages that the commands write."""

import json
import re
from pathlib import Path

import pika
import pytest
from click.testing import CliRunner, Result

import mqctx
from mqctx.adapters.pika import publish
from mqctx.cli._group import commands
from tests.drivers.on_pika import pika_channel

from .broker import Broker

_DATA = re.compile(
    r'<script type="application/json" (?:class="data"|id="about")>(.*?)</script>', re.DOTALL
)


@pytest.fixture
def filled(queue: str, amqp_url: str) -> str:
    """Give a queue with a message of each of two tenants."""
    with pika_channel(amqp_url) as channel:
        for tenant, body in [("acme", b"text"), ("initech", b"\xff")]:
            with mqctx.scope(tenant=tenant, request_id=f"r-{tenant}"):
                headers = {"large": 2**62}
                publish(channel, "", queue, body, pika.BasicProperties(headers=headers))
    return queue


def inspect(broker: Broker, *arguments: str) -> Result:
    urls = ["--broker", broker.url, "--management", broker.management]
    return CliRunner().invoke(commands, ["inspect", *urls, *arguments])


def test_inspect_writes_what_it_chose_to_the_page(
    broker: Broker, filled: str, tmp_path: Path
) -> None:
    path = tmp_path / "dead.html"
    conditions = ("--where", "tenant=*", "--limit", "2", "--by", "tenant")

    result = inspect(broker, filled, "--html", str(path), "--body", *conditions)

    assert result.exit_code == 0, result.output
    messages, about = [json.loads(each) for each in _DATA.findall(path.read_text())]
    assert [(each["context"]["tenant"], each["body"], each["why"]) for each in messages] == [
        ("acme", "text", "not known"),
        ("initech", "/w==", "not known"),
    ]
    assert messages[0]["headers"]["large"] == str(2**62)
    assert about == {
        "by": ["tenant"], "where": ["tenant=*"], "limit": 2, "looked": 2,
        "outcome": "all left in place", "notes": [],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["missing/dead.html", "."])
def test_inspect_reads_nothing_where_the_page_cannot_be_written(
    broker: Broker, filled: str, tmp_path: Path, name: str
) -> None:
    result = inspect(broker, filled, "--html", str(tmp_path / name))
    assert result.exit_code in {1, 2}
    assert result.stdout == ""


def test_inspect_leaves_the_page_as_it_was_where_no_queue_could_be_read(
    broker: Broker, queue_name: str, tmp_path: Path
) -> None:
    path = tmp_path / "dead.html"
    path.write_text("as it was")
    assert inspect(broker, queue_name, "--html", str(path)).exit_code == 1
    assert path.read_text() == "as it was"
