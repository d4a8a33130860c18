"""The log lines of the services, and the records that are checked at the end."""

import functools
import logging
from collections.abc import Callable
from threading import Event
from typing import Final, ParamSpec, TypeAlias

import msgspec

import mqctx

P = ParamSpec("P")

_STORY: Final = ("request_id", "user", "tenant")
log: Final = logging.getLogger("mqctx.demo")


def whose() -> mqctx.Context:
    """Return the active context without the trace: each message is a span of its own."""
    own = {name: value for name, value in mqctx.current().items() if name in _STORY}
    return mqctx.Context(own)


class HandlerRun(msgspec.Struct, frozen=True):
    """One order handled by one service, and the context that was active then."""

    service: str
    order: str
    context: mqctx.Context


Leftover: TypeAlias = "tuple[str, mqctx.Context]"
"""A service, and the context that was still active there after a message."""


class Journal(msgspec.Struct, frozen=True):
    """The contexts that were active in the handlers and after them. Several threads write to it."""

    expected_runs: int
    runs: list[HandlerRun] = []
    leftovers: list[Leftover] = []
    over: Event = msgspec.field(default_factory=Event)

    def add(self, run: HandlerRun) -> None:
        """Keep a handler run; the last one expected ends the story."""
        self.runs.append(run)
        if len(self.runs) >= self.expected_runs:
            self.over.set()


class Service(msgspec.Struct, frozen=True):
    """A participant, which says what it does."""

    name: str
    client: str
    journal: Journal

    def says(self, what: str) -> None:
        """Log a line. No argument names the request that it is about."""
        log.info(what, extra={"service": self.name, "client": self.client})

    def handles(self, verb: str, order: str) -> None:
        """Do the work on an order, and record the context."""
        self.says(f"{verb} {order}")
        self.journal.add(HandlerRun(self.name, order, whose()))

    def named(self, handler: Callable[P, None]) -> Callable[P, None]:
        """Return `handler` with the name that a service of its own would give it."""
        handler.__module__, handler.__qualname__ = self.name, handler.__name__
        return handler

    def watched(self, handler: Callable[P, None]) -> Callable[P, None]:
        """Return `handler` with a check, after each call, for a context that is still active."""

        @functools.wraps(handler)
        def handle_and_look(*args: P.args, **kwargs: P.kwargs) -> None:
            handler(*args, **kwargs)
            if mqctx.current():
                self.journal.leftovers.append((self.name, whose()))

        return handle_and_look
