"""Queues of dead letters, to be looked at."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pika
from click.testing import CliRunner, Result

from mqctx.cli import commands
from tests.drivers.on_pika import pika_channel

from .broker import Broker

KINDS: dict[str, dict[str, Any]] = {
    "classic": {},
    "quorum": {"x-queue-type": "quorum"},
    "quorum-unlimited": {"x-queue-type": "quorum", "x-delivery-limit": -1},
    "quorum-3": {"x-queue-type": "quorum", "x-delivery-limit": 3},
    "quorum-single": {
        "x-queue-type": "quorum",
        "x-delivery-limit": -1,
        "x-single-active-consumer": True,
    },
    "classic-single": {"x-single-active-consumer": True},
    "priorities": {"x-max-priority": 3},
    "stream": {"x-queue-type": "stream"},
}


@contextmanager
def filled(
    broker: Broker, kind: str, count: int, *, name: str | None = None, **properties: Any
) -> Iterator[str]:
    """Give a queue with messages of two tenants, and delete it afterwards."""
    queue = name or f"mqctx-dead-{uuid4().hex}"
    with pika_channel(broker.url) as channel:
        channel.queue_declare(queue, durable=True, arguments=KINDS[kind])
        publish(channel, queue, range(count), **properties)
        yield queue
        channel.queue_delete(queue)


def publish(channel: Any, queue: str, numbers: range, **properties: Any) -> None:
    """Send messages, each with its number as id and body, and wait until the queue has them."""
    channel.tx_select()
    for number in numbers:
        tenant = "acme" if number % 3 else "initech"
        context = json.dumps({"tenant": tenant, "request_id": f"r-{number // 2}"})
        told = pika.BasicProperties(
            message_id=str(number), headers={"mqctx": context}, delivery_mode=2, **properties
        )
        channel.basic_publish("", queue, str(number).encode(), told)
    channel.tx_commit()


def ready(broker: Broker, queue: str) -> int:
    """Return the number of messages that wait."""
    with pika_channel(broker.url) as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)


def drained(broker: Broker, queue: str) -> list[str]:
    """Take all messages, and return their ids."""
    ids: list[str] = []
    with pika_channel(broker.url) as channel:
        there = channel.queue_declare(queue, passive=True).method.message_count
        for _, properties, _ in channel.consume(queue, auto_ack=True, inactivity_timeout=2):
            if properties is not None:
                ids.append(properties.message_id)
            if properties is None or len(ids) == there:
                break
        channel.cancel()
        left = channel.queue_declare(queue, passive=True).method.message_count
    assert left == 0
    return ids


def mqctx(broker: Broker, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
    """Run a command of mqctx in this process."""
    command, *rest = arguments
    where = ["--broker", broker.url, "--management", broker.management]
    given = [command, *where, *rest]  # of an option that is given twice, the last counts
    own = {"COLUMNS": "120", **(env or {})}
    return CliRunner().invoke(commands, given, env=own, prog_name="mqctx")


def objects(result: Result) -> list[dict[str, Any]]:
    """Return the lines of JSON that a command printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


@contextmanager
def policy(broker: Broker, command: str) -> Iterator[None]:
    """Do what `rabbitmqctl set_policy ...` does, and undo it afterwards."""
    program, verb, *words = shlex.split(command)
    assert (program, verb) == ("rabbitmqctl", "set_policy")
    *options, name, pattern, definition = words
    given = dict(zip(options[::2], options[1::2], strict=True))
    url = f"{broker.management}/api/policies/%2F/{quote(name, safe='')}"
    login = ("guest", "guest")
    body = {
        "pattern": pattern,
        "definition": json.loads(definition),
        "priority": int(given["--priority"]),
        "apply-to": given["--apply-to"],
    }
    httpx.put(url, json=body, auth=login).raise_for_status()
    try:
        yield
    finally:
        httpx.delete(url, auth=login)


def command_in(text: str) -> str:
    """Return the command that a refusal names."""
    return next(line.strip() for line in text.splitlines() if line.startswith("  "))
