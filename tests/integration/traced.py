"""A vhost of a test's own, and what `mqctx trace` makes of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from mqctx.inspection import Broker as Address
from mqctx.inspection import Management
from mqctx.inspection._journeys._tracer import Settings, Status, Tracer

from .broker import Broker

SECONDS = 30.0
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


class Watch:
    """Keep what a trace finds out."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.statuses: list[Status] = []

    def journey(self, records: list[dict[str, Any]]) -> None:
        self.records += records

    def status(self, status: Status) -> None:
        self.statuses.append(status)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Traced:
    """A trace in a thread of this process."""

    def __init__(self, vhost: Vhost, url: str | None = None, **settings: Any) -> None:
        self.watch = Watch()
        self.is_whole: bool | None = None
        broker = Address.parse(url or vhost.url)
        self._management = None if "tap" in settings else Management(broker, vhost.management)
        self.tracer = Tracer(broker, self._management, Settings(**settings), self.watch)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.is_whole = self.tracer.run()

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: bool(self.watch.statuses) or not self._thread.is_alive())
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def close(self) -> None:
        """Close its connection to the management API."""
        if self._management is not None:
            self._management.__exit__()

    def end(self) -> list[dict[str, Any]]:
        """End it, and return what it found."""
        self.tracer.stop()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the trace does not end"
        self.close()
        return self.watch.records


class Command:
    """`mqctx trace` as a process."""

    def __init__(self, vhost: Vhost, *arguments: str, stdout: Any = subprocess.PIPE) -> None:
        command = [sys.executable, "-m", "mqctx", "trace", "--broker", vhost.url]
        command += ["--management", vhost.management, *arguments]
        self.process = subprocess.Popen(
            command, stdout=stdout, stderr=subprocess.PIPE, text=True, env={**os.environ}
        )

    def end(self, number: int = signal.SIGINT, seconds: float = SECONDS) -> tuple[int, str, str]:
        """Send a signal; return exit code, stdout and stderr."""
        self.process.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = SECONDS) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err


def lines(out: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in out.splitlines()]


def until(is_so: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.02)


def host_of(url: str) -> str:
    """Return host and port of a URL."""
    return urlsplit(url).netloc.rpartition("@")[2]
