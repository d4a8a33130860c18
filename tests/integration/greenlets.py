"""Consume with kombu in many greenlets, in a process that gevent or eventlet patched.

A program, with the arguments LIBRARY URL QUEUE. Prints as JSON what it saw.
"""

import contextvars
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

import kombu

from mqctx import Context, bind, current, wrap
from mqctx.adapters.kombu import consume_with_context
from tests.drivers.handling import context_of

GREENLETS = 8
MESSAGES = 200
SECONDS = 120.0
"""How long all of it may take."""

last: contextvars.ContextVar[int] = contextvars.ContextVar("last", default=-1)


@dataclass
class Report:
    """A report of what was seen."""

    handled: set[int] = field(default_factory=set[int])
    """The numbers of the messages whose handler returned."""
    outlived: int = 0
    """How many greenlets of handlers went on after their handler."""
    at_once: int = 0
    """How many handlers were under way at a time, at the most."""
    by: set[int] = field(default_factory=set[int])
    """The greenlets that handled something."""
    mixed: list[str] = field(default_factory=list[str])
    """Contexts that were active where they should not have been."""


class Consumers:
    """Some greenlets, each with a connection and a consumer of its own."""

    def __init__(self, spawn: Any, url: str, queue: str) -> None:
        self.report = Report()
        self._spawn = spawn
        self._url = url
        self._queue = queue
        self._under_way = 0
        self._children: list[Any] = []
        self._until = time.monotonic() + SECONDS

    def run(self) -> None:
        """Consume until each message was handled."""
        greenlets = [self._spawn(self._consume, number) for number in range(GREENLETS)]
        for greenlet in greenlets:
            finish(greenlet)
        for child in self._children:
            finish(child)
        self._expect("the main greenlet", Context())

    def _consume(self, greenlet: int) -> None:
        @consume_with_context
        def on_message(body: Any, message: Any) -> None:
            self._handle(int(body))
            self.report.by.add(greenlet)
            message.ack()

        source = kombu.Queue(self._queue, no_declare=True)
        with (
            kombu.Connection(self._url) as connection,
            connection.Consumer(source, callbacks=[on_message], prefetch_count=1),
        ):
            while len(self.report.handled) < MESSAGES and time.monotonic() < self._until:
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    continue
                self._expect(f"greenlet {greenlet}", Context())

    def _handle(self, number: int) -> None:
        self._under_way += 1
        self.report.at_once = max(self.report.at_once, self._under_way)
        self._expect(f"handler of {number}", context_of(number))
        time.sleep(random.random() / 50)
        self._children.append(self._spawn(wrap(self._later), number))
        self._children.append(self._spawn(self._unwrapped, number))
        bind(step=number)
        last.set(number)
        time.sleep(random.random() / 50)
        self._expect(f"handler of {number}, later", context_of(number) | {"step": number}, number)
        self.report.handled.add(number)
        self._under_way -= 1

    def _later(self, number: int) -> None:
        time.sleep(random.random() / 10)
        self._expect(f"greenlet of the handler of {number}", context_of(number))
        self.report.outlived += number in self.report.handled

    def _unwrapped(self, number: int) -> None:
        self._expect(f"greenlet of the handler of {number}, not wrapped", Context())

    def _expect(self, where: str, context: Context, set_last: int = -1) -> None:
        if current() != context or last.get() != set_last:
            self.report.mixed.append(f"{where}: {current()!r}, last={last.get()}")


def finish(greenlet: Any) -> None:
    """Wait for a greenlet of either library; raise what it raised."""
    if hasattr(greenlet, "get"):
        greenlet.get(timeout=SECONDS)
    else:
        greenlet.wait()


if __name__ == "__main__":
    library, url, queue = sys.argv[1:]
    consumers = Consumers(import_module(library).spawn, url, queue)
    consumers.run()
    print(json.dumps(asdict(consumers.report), default=sorted))  # noqa: T201 - what it is for
