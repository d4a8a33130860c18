"""A vhost of a test's own, and what `mqctx trace` makes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pika
import pytest

from .broker import Broker

SECONDS = 30.0
OF_REQUEST = {"mqctx": '{"request_id":"r-1","tenant":"acme"}'}
METADATA = {"description": "orders, of all", "tags": ["a", "b"], "default_queue_type": "quorum"}


class Vhost:
    """A vhost that is there for one test."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.name = name
        self.management = broker.management
        self.url = f"{broker.url.rstrip('/')}/{name}"
        self.api = httpx.Client(base_url=f"{broker.management}/api/", auth=("guest", "guest"))

    def state(self) -> dict[str, Any]:
        """Return what the broker knows of it, but for how much goes on in it."""
        found = self.api.get(f"vhosts/{self.name}").json()
        return {
            name: found.get(name)
            for name in ("description", "tags", "default_queue_type", "metadata", "tracing")
        }

    @property
    def is_traced(self) -> bool:
        """Whether tracing is on."""
        return bool(self.state()["tracing"])

    def leftovers(self) -> list[str]:
        """Return what a trace has left in it."""
        found = [
            *self.api.get(f"exchanges/{self.name}").json(),
            *self.api.get(f"queues/{self.name}").json(),
        ]
        return [each["name"] for each in found if each["name"].startswith("mqctx.trace")]

    def bound_queues(self) -> list[str]:
        """Return the queues that get RabbitMQ's events."""
        path = f"exchanges/{self.name}/amq.rabbitmq.trace/bindings/source"
        return [each["destination"] for each in self.api.get(path).json()]

    def change(self, **settings: Any) -> None:
        """Set what a vhost has."""
        self.api.put(f"vhosts/{self.name}", json=settings).raise_for_status()

    def allow(self, user: str, **rights: str) -> None:
        """Let a user do what matches these patterns."""
        path = f"permissions/{self.name}/{user}"
        self.api.put(path, json=rights).raise_for_status()


@contextmanager
def vhost_of(broker: Broker) -> Iterator[Vhost]:
    """Give a vhost with settings that are easily lost."""
    vhost = Vhost(broker, f"trace-{uuid4().hex[:12]}")
    vhost.change(**METADATA)
    vhost.allow("guest", configure=".*", write=".*", read=".*")
    try:
        yield vhost
    finally:
        vhost.api.delete(f"vhosts/{vhost.name}")
        vhost.api.close()


class Command:
    """`mqctx trace` as a process."""

    def __init__(
        self,
        vhost: Vhost,
        *arguments: str,
        stdout: Any = subprocess.PIPE,
        stderr: Any = subprocess.PIPE,
    ) -> None:
        command = [sys.executable, "-m", "mqctx", "trace", "--broker", vhost.url]
        command += ["--management", vhost.management, *arguments]
        self.process = subprocess.Popen(
            command, stdout=stdout, stderr=stderr, text=True, env={**os.environ}
        )

    def end(self, number: int = signal.SIGINT, seconds: float = SECONDS) -> tuple[int, str, str]:
        """Send a signal; return exit code, stdout and stderr."""
        self.process.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = SECONDS) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err


class Traced:
    """`mqctx trace --json`, and what it writes."""

    def __init__(self, command: Command, out: Path, err: Path) -> None:
        self._command, self._out, self._err = command, out, err

    def records(self) -> list[dict[str, Any]]:
        """Return what it found so far: a journey is told once it rests."""
        whole = self._out.read_text().rpartition("\n")[0]
        return [each for each in lines(whole) if each["kind"] != "summary"]

    def warnings(self) -> str:
        """Return what it said beside."""
        return self._err.read_text()

    def end(self) -> list[dict[str, Any]]:
        """End it, and return what it found."""
        if self._command.process.poll() is None:
            code, _, _ = self._command.end()
            assert code == 0, self.warnings()
        return self.records()


@contextmanager
def traced(vhost: Vhost) -> Iterator[Traced]:
    """Trace a vhost while a block lasts."""
    before = len(vhost.bound_queues())
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        with out.open("w") as stdout, err.open("w") as stderr:
            made = Traced(Command(vhost, "--json", stdout=stdout, stderr=stderr), out, err)
        try:
            until(lambda: len(vhost.bound_queues()) > before and vhost.is_traced)
            yield made
        finally:
            made.end()


def lines(out: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in out.splitlines()]


def send(channel: Any, queue: str, body: bytes = b"1", **properties: Any) -> None:
    """Send a message to a queue, and take it out again."""
    channel.queue_declare(queue, arguments={"x-queue-type": "classic"})
    sent = pika.BasicProperties(headers=OF_REQUEST, **properties)
    channel.basic_publish("", queue, body, sent)
    until(lambda: channel.basic_get(queue, auto_ack=True)[0] is not None)


def until(is_so: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.02)


def host_of(url: str) -> str:
    """Return host and port of a URL."""
    return urlsplit(url).netloc.rpartition("@")[2]


class OnNewerBroker:
    """Let the tests of another class run on RabbitMQ 4.3."""

    @pytest.fixture
    def vhost(self, broker_43: Broker) -> Iterator[Vhost]:
        """Give a vhost of the test's own."""
        with vhost_of(broker_43) as made:
            yield made
