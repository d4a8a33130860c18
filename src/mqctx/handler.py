"""Run a handler inside the context that its message brought: what the adapters have in common."""

from collections.abc import Callable
from contextvars import Context as Space
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast, overload

from mqctx import calling
from mqctx.context import Context, Scope, restored_here
from mqctx.errors import HandlerError
from mqctx.propagator import Propagator, default_propagator

P = ParamSpec("P")
R = TypeVar("R")

_HANDLER = "__mqctx_handler__"


def context_from(headers: Any, propagator: Propagator | None = None) -> Context:
    """Return the context that `headers` carry; without extracting it anew inside its own run."""
    if propagator is None:
        restored = restored_here(headers)
        return default_propagator().extract(headers) if restored is None else restored
    return propagator.extract(headers)


def space_from(headers: Any, propagator: Propagator | None = None) -> Space:
    """Return a space in which exactly the context that `headers` carry is active."""
    return context_from(headers, propagator).space(headers)


def scope_from(headers: Any, propagator: Propagator | None = None) -> Scope:
    """Return a `with` block inside exactly the context that `headers` carry."""
    return Scope(context_from(headers, propagator), exact=True, headers=headers)


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
        if _is_decorated(handler):
            return handler
        if calling.is_async(handler) and not self._awaited_by_client:
            raise HandlerError(
                f"{handler!r} is an `async def`, which this client calls but never awaits; give it "
                "a sync handler that starts the work: asyncio.run(work(...)) to wait for it, or "
                "loop.create_task(work(...)) on a running loop (the task keeps the context)"
            )

        def space_for(*args: Any, **kwargs: Any) -> Space:
            return space_from(self._headers(*args, **kwargs), propagator)

        return _decorated(handler, space_for)

    def hook(self, handler: Any, propagator_now: Callable[[], Propagator | None]) -> Any:
        """Decorate a handler of an application that knows nothing of it.

        While `propagator_now` gives None, the handler is called as it is. What could not keep
        the context is returned as it is, for the client to treat as ever.
        """
        unfit = calling.is_generator_function(handler) or (
            calling.is_async(handler) and not self._awaited_by_client
        )
        if not callable(handler) or unfit or _is_decorated(handler):
            return handler

        def space_for(*args: Any, **kwargs: Any) -> Space | None:
            propagator = propagator_now()
            if propagator is None:
                return None
            return space_from(self._headers(*args, **kwargs), propagator)

        return _decorated(handler, space_for)


def _decorated(handler: Callable[P, R], space_for: Callable[..., Space | None]) -> Callable[P, R]:
    decorated = calling.decorate(handler, cast("Callable[P, Space | None]", space_for))
    setattr(decorated, _HANDLER, handler)
    return decorated


def _is_decorated(handler: Callable[..., Any]) -> bool:
    """Whether `handler` itself, not only one that it wraps, already restores a context."""
    decorated = getattr(handler, _HANDLER, None)
    return decorated is not None and decorated is getattr(handler, "__wrapped__", None)
