"""The pages that the commands write."""

import json
import re
from pathlib import Path

import pika
import pytest
from click.testing import CliRunner, Result

import mqctx
from mqctx.adapters.pika import publish
from mqctx.cli import commands
from tests.drivers.on_pika import pika_channel

from .broker import Broker
from .traced import Command, lines, until, vhost_of

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


def test_trace_writes_what_it_saw_to_a_page_and_to_files_of_other_tools(
    broker: Broker, tmp_path: Path
) -> None:
    paths = {name: tmp_path / name for name in ("html", "otlp", "chrome")}
    options = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    with vhost_of(broker) as vhost:
        command = Command(vhost, "--json", *options)
        until(lambda: vhost.is_traced)
        with pika_channel(vhost.url) as channel, mqctx.scope(request_id="r-1"):
            channel.queue_declare("orders", arguments={"x-queue-type": "classic"})
            publish(channel, "", "orders", b"42")
            until(lambda: channel.basic_get("orders", auto_ack=True)[0] is not None)
        code, out, err = command.end()

    assert code == 0, err
    events, _ = [json.loads(each) for each in _DATA.findall(paths["html"].read_text())]
    assert events == lines(out)
    otlp, chrome = (json.loads(paths[name].read_text()) for name in ("otlp", "chrome"))
    assert len(otlp["resourceSpans"]) == 2
    assert [each["ph"] for each in chrome["traceEvents"]] == ["M", "X", "X"]


@pytest.mark.parametrize("option", ["--html", "--otlp", "--chrome"])
def test_trace_changes_nothing_where_a_file_cannot_be_written(
    broker: Broker, tmp_path: Path, option: str
) -> None:
    with vhost_of(broker) as vhost:
        urls = ["--broker", vhost.url, "--management", vhost.management, "--seconds", "0"]
        result = CliRunner().invoke(
            commands, ["trace", *urls, option, str(tmp_path / "missing" / "file")]
        )
        assert result.exit_code == 1
        assert "missing/file" in result.stderr
        assert "tracing is" not in result.stderr
        assert not vhost.is_traced
