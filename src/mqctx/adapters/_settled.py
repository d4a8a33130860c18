"""Blocks that settle their message when they end, and handlers that are such blocks."""

import contextvars
import functools
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

from mqctx._core.context import Context
from mqctx._core.identity import function_name
from mqctx._core.isolation import Arguments
from mqctx._core.runs import note_failed
from mqctx._core.scope import Scope
from mqctx._core.store import active_store
from mqctx._failures.record import Failure
from mqctx._propagation.propagator import Propagator, registry
from mqctx.adapters._dead_letter import DeadLetter, as_dead_letter
from mqctx.adapters._handler import SettleCalls
from mqctx.adapters._reports import OriginNow, block_scope
from mqctx.adapters._settling import (
    Delivery,
    Pause,
    Send,
    Steps,
    bound_since,
    steps,
)
from mqctx.errors import HandlerError

P = ParamSpec("P")
R = TypeVar("R")
Then: TypeAlias = Callable[[Exception | None], None]
"""Takes a sequence of steps up again."""


class SyncDelivery(Delivery, Protocol):
    """A delivery whose client is called without `await`."""

    def send(self, failure: Failure, then: Then) -> None:
        """Send a copy, and call `then` once it is known how that went, at once or later."""
        ...

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` after so many seconds, as soon as the client lets it."""
        ...


class Block:
    """The `with` block of any client: the context of its message, and how that is settled."""

    def __init__(
        self,
        delivery: Any,
        dead_letter: DeadLetter,
        brought: Context,
        headers: object,
        propagator: Propagator | None,
        handler: str | None = None,
        origin: OriginNow | None = None,
    ) -> None:
        """Take a message; report the run if `origin` says where it came from."""
        self.delivery = delivery
        self._dead_letter = dead_letter
        self._brought = brought
        self._headers = headers
        self._propagator = propagator
        self._handler = handler
        self._origin = origin
        self._scope: Scope | None = None

    def __enter__(self) -> Context:
        # The consumer of a decorated handler may have made it active already.
        if active_store().headers is not self._headers or self._headers is None:
            self._scope = self._new_scope()
            self._scope.__enter__()
        return self._brought

    def _new_scope(self) -> Scope:
        if self._origin is None or registry.report is None:
            return Scope(self._brought, exact=True, headers=self._headers)
        return block_scope(self._brought, self._headers, self._origin)

    def leave(self) -> None:
        """Make the context active again that was."""
        if self._scope is not None:
            self._scope.__exit__(None, None, None)

    def steps(self, error: BaseException | None) -> Steps:
        """Return the steps that settle the message."""
        note_failed(error)
        propagator = self._propagator or registry.propagator
        bound = partial(bound_since, self._brought, propagator)
        return steps(self.delivery, self._dead_letter, error, self._handler, bound)


class SyncBlock(Block):
    """A `with` block for clients that are called without `await`."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            proceed(self.steps(error), self.delivery)
        except BaseException as raised:
            # Ctrl-C while the copy was sent: not acknowledged, the message must not stay held.
            if not isinstance(raised, Exception):
                with suppress(Exception):
                    self.delivery.requeue()
            raise
        finally:
            self.leave()
        return isinstance(error, Exception)


def proceed(under_way: Steps, delivery: SyncDelivery, answer: Exception | None = None) -> None:
    """Take steps until one cannot be done at once; what it leads to goes on from there."""
    while True:
        try:
            step = under_way.send(answer)
        except StopIteration:
            return
        if isinstance(step, Send | Pause):
            # It goes on in the context of the message, wherever the client calls it.
            go_on: Any = partial(contextvars.copy_context().run, proceed, under_way, delivery)
            if isinstance(step, Send):
                delivery.send(step.failure, go_on)
            else:
                delivery.later(step.seconds, go_on)
            return
        step()
        answer = None


class Waiting:
    """Sequences of steps that wait for their time, in a thread that cannot wait for them."""

    def __init__(self) -> None:
        self._due: list[tuple[float, Callable[[], None]]] = []

    def add(self, seconds: float, then: Callable[[], None]) -> None:
        """Let `then` be called by the first `run` after so many seconds."""
        self._due.append((time.monotonic() + seconds, then))

    def seconds(self) -> float | None:
        """Return how long the next one has to wait, None if there is none."""
        first = min((due for due, _ in self._due), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def run(self) -> None:
        """Call those whose time has come."""
        # Taken out before they are called: each may add itself again, for later.
        now = time.monotonic()
        ready = [each for each in self._due if each[0] <= now]
        self._due = [each for each in self._due if each[0] > now]
        for _, then in ready:
            then()


Open: TypeAlias = Callable[[tuple[Any, ...], str], Any]
"""Opens a block for the message among the arguments of a handler of that name."""


def settle_calls(handler: Callable[P, R], open_block: Open) -> Callable[P, R | None]:
    """Return a handler whose message is settled when it ends; its failure is swallowed."""
    name = function_name(handler)

    @functools.wraps(handler)
    def settling(*args: P.args, **kwargs: P.kwargs) -> R | None:
        with open_block((*args, *kwargs.values()), name):
            return handler(*args, **kwargs)

    return settling


def settler_by(
    open_block: Callable[[Any, DeadLetter, Propagator | None, str], Any],
    message_in: Callable[[Arguments], Any],
    dead_letter: str | DeadLetter,
    propagator: Propagator | None,
    *,
    settle: Callable[[Any, Open], Any] = settle_calls,
) -> SettleCalls:
    """Return what makes handlers settle the message that `message_in` finds in their arguments."""
    chosen = as_dead_letter(dead_letter)

    def settler(handler: Any, bound: Arguments) -> Any:
        def open_for(arguments: Arguments, name: str) -> Any:
            return open_block(message_in((*arguments, *bound)), chosen, propagator, name)

        return settle(handler, open_for)

    return settler


def message_of(kind: type, arguments: Arguments) -> Any:
    """Return the message among the arguments of a handler."""
    for argument in arguments:
        if isinstance(argument, kind):
            return argument
    raise HandlerError("dead_letter: a handler was called without a message")
