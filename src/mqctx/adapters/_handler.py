"""Run a handler inside the context that its message brought: what the adapters have in common."""

import contextvars
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, ParamSpec, TypeVar, overload

from mqctx._core import isolation
from mqctx._core.context import (
    EMPTY,
    Context,
    Scope,
    Store,
    active_store,
    restored_here,
    set_store,
)
from mqctx._core.isolation import Arguments, CallInside, KeywordArguments
from mqctx._core.linked_vars import linked, set_to
from mqctx._propagation import propagator as propagators
from mqctx._propagation.propagator import Propagator
from mqctx._propagation.properties import PropertyOf
from mqctx.errors import HandlerError

P = ParamSpec("P")
R = TypeVar("R")
_HANDLER = "__mqctx_handler__"


def context_from(
    headers: Any,
    propagator: Propagator | None = None,
    message: object = None,
    property_of: PropertyOf = getattr,
) -> Context:
    """Return the context that `headers` carry; without extracting it anew inside its own run.

    A propagator that reads properties too finds them in `message`, with `property_of`.
    """
    known = restored_here(headers) if propagator is None else None
    if known is not None:
        return known
    return (propagator or propagators.default).extract_from(headers, message, property_of)


def snapshot_from(
    headers: Any,
    propagator: Propagator | None = None,
    message: object = None,
    property_of: PropertyOf = getattr,
) -> contextvars.Context:
    """Return a snapshot in which exactly the context that `headers` carry is active."""
    return context_from(headers, propagator, message, property_of).snapshot(headers)


def scope_from(
    headers: Any,
    propagator: Propagator | None = None,
    message: object = None,
    property_of: PropertyOf = getattr,
) -> Scope:
    """Return a `with` block inside exactly the context that `headers` carry."""
    context = context_from(headers, propagator, message, property_of)
    return Scope(context, exact=True, headers=headers)


class HandlerDecorator:
    """A decorator, bare or called with options, for one client's kind of handler.

    The decorated handler runs inside the context that its message brought, the empty one if
    it brought none, and keeps its kind (sync or `async def`), name, docstring and signature.
    No context variable that it sets reaches the next message. Decorating twice is decorating
    once. With `propagator=` that one extracts, else the default one at the time of the call.

    Raises:
        HandlerError: a function of a kind that could not keep the context.
    """

    __slots__ = ("_awaited_by_client", "_name", "_position", "_property_of")

    def __init__(
        self,
        position: int,
        name: str,
        *,
        awaited_by_client: bool,
        property_of: PropertyOf = getattr,
    ) -> None:
        """Find what has the `headers` at that position, or under that name.

        A position from the end: a method or a partial has more arguments before.
        """
        self._position = position
        self._name = name
        self._awaited_by_client = awaited_by_client
        self._property_of = property_of

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
        if isolation.is_async(handler) and not self._awaited_by_client:
            raise HandlerError(
                f"{handler!r} is an `async def`, which this client calls but never awaits; give it "
                "a sync handler that starts the work: asyncio.run(work(...)) to wait for it, or "
                "loop.create_task(work(...)) on a running loop (the task keeps the context)"
            )
        return _marked(isolation.decorate(handler, self._inside(propagator)), handler)

    def hook(self, handler: Any, propagator_now: Callable[[], Propagator | None]) -> Any:
        """Decorate a handler of an application that knows nothing of it.

        While `propagator_now` gives None, the handler is called as it is. What could not keep
        the context is returned as it is, for the client to treat as ever.
        """
        unfit = isolation.is_generator_function(handler) or (
            isolation.is_async(handler) and not self._awaited_by_client
        )
        if not callable(handler) or unfit or _is_decorated(handler):
            return handler

        @lru_cache(maxsize=1)  # not decorated anew for each message
        def decorated(propagator: Propagator) -> Callable[..., Any]:
            return self._decorate(propagator, handler)

        def choose() -> Callable[..., Any]:
            propagator = propagator_now()
            return handler if propagator is None else decorated(propagator)

        return _marked(isolation.choose_at_call(handler, choose), handler)

    def _inside(self, propagator: Propagator | None) -> CallInside:
        """Return what calls a handler inside the context that its message brought."""
        position, name, property_of = self._position, self._name, self._property_of

        def inside(function: Callable[..., Any], args: Arguments, kwargs: KeywordArguments) -> Any:
            message = kwargs[name] if kwargs and name in kwargs else args[position]
            headers = message.headers
            # What `context_from` and `call_inside` do, without further calls for each message.
            chosen = propagator or propagators.default
            if not headers and not chosen.properties:
                context = EMPTY
            elif headers and propagator is None and active_store().headers is headers:
                context = active_store().restored
            else:
                context = chosen.extract_from(headers, message, property_of)
            set_store(Store(context, headers, context))
            if linked:
                set_to(context)
            return function(*args, **kwargs) if kwargs else function(*args)

        return inside


def _marked(decorated: Callable[P, R], handler: Callable[P, R]) -> Callable[P, R]:
    setattr(decorated, _HANDLER, handler)
    return decorated


def _is_decorated(handler: Callable[..., Any]) -> bool:
    """Whether `handler` itself, not only one that it wraps, already restores a context."""
    decorated = getattr(handler, _HANDLER, None)
    return decorated is not None and decorated is getattr(handler, "__wrapped__", None)
