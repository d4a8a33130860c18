"""Run a handler inside the context that its message brought: what the adapters have in common."""

from collections.abc import Callable
from contextvars import Context as Space
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast, overload

from mqctx import calling
from mqctx.errors import HandlerError
from mqctx.propagator import Propagator, default_propagator

P = ParamSpec("P")
R = TypeVar("R")

_HANDLER = "__mqctx_handler__"


class HandlerDecorator:
    """A decorator, bare or called with options, for one client's kind of handler.

    The decorated handler runs inside the context that its message brought, the empty one if
    it brought none, and keeps its kind (sync or `async def`), name, docstring and signature.
    No context variable that it sets reaches the next message. Decorating twice is decorating
    once. With `propagator=` that one extracts, else the default one at the time of the call.

    Raises:
        HandlerError: a function of a kind that could not keep the context.
    """

    __slots__ = ("_awaited_by_client", "_headers")

    def __init__(self, headers: Callable[..., Any], *, awaited_by_client: bool) -> None:
        """Take headers out of a handler's arguments with `headers(*args, **kwargs)`."""
        self._headers = headers
        self._awaited_by_client = awaited_by_client

    @overload
    def __call__(
        self, handler: Callable[P, R], /, *, propagator: Propagator | None = None
    ) -> Callable[P, R]: ...

    @overload
    def __call__(
        self, handler: None = None, /, *, propagator: Propagator | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def __call__(self, handler: Any = None, /, *, propagator: Propagator | None = None) -> Any:
        """Decorate `handler`, or return the decorator that will, with these options."""
        if handler is None:
            return partial(self._decorate, propagator)
        return self._decorate(propagator, handler)

    def _decorate(self, propagator: Propagator | None, handler: Callable[P, R]) -> Callable[P, R]:
        if is_decorated(handler):
            return handler
        if calling.is_async(handler) and not self._awaited_by_client:
            raise HandlerError(
                f"{handler!r} is an `async def`, which this client calls but never awaits; give it "
                "a sync handler that starts the work: asyncio.run(work(...)) to wait for it, or "
                "loop.create_task(work(...)) on a running loop (the task keeps the context)"
            )

        def space_for(*args: Any, **kwargs: Any) -> Space:
            headers = self._headers(*args, **kwargs)
            return (propagator or default_propagator()).extract(headers).space()

        decorated = calling.decorate(handler, cast("Callable[P, Space]", space_for))
        setattr(decorated, _HANDLER, handler)
        return decorated


def is_decorated(handler: Callable[..., Any]) -> bool:
    """Whether `handler` itself, not only one that it wraps, already restores a context."""
    decorated = getattr(handler, _HANDLER, None)
    return decorated is not None and decorated is getattr(handler, "__wrapped__", None)
