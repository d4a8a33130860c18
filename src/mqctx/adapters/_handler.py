"""Run a handler inside the context that its message brought, for any client."""

import contextvars
from collections.abc import Callable
from functools import lru_cache, partial
from inspect import cleandoc
from typing import Any, ParamSpec, TypeAlias, TypeVar, overload

from mqctx._core import isolation, linked_vars
from mqctx._core.context import Context
from mqctx._core.isolation import Arguments, CallInside, KeywordArguments
from mqctx._core.scope import Scope
from mqctx._core.store import Store, active_store, set_store
from mqctx._propagation.decoder import is_mapping
from mqctx._propagation.propagator import Propagator, check_propagator, registry
from mqctx._propagation.properties import PropertyOf
from mqctx.adapters._dead_letter import DeadLetter
from mqctx.adapters._position import place_of
from mqctx.adapters._reports import OriginOf, block_scope, with_report
from mqctx.errors import HandlerError

P = ParamSpec("P")
R = TypeVar("R")
_HANDLER = "__mqctx_handler__"
_SETTLES = "__mqctx_settles__"
_USE = """consume_with_context(handler=None, /, *, propagator=None, dead_letter=None)

Decorate a `({})` callback to run in its message's context.

"""
SettleCalls: TypeAlias = Callable[[Any, Arguments], Any]
"""Takes a handler, and the arguments that are bound to it; returns one that settles its message."""
Settler: TypeAlias = Callable[[str | DeadLetter, Propagator | None], SettleCalls]


def headers_of(message: Any) -> Any:
    """Return the headers of a message; None of any object that has none."""
    try:
        return message.headers
    except Exception:  # noqa: BLE001 - a foreign object's own code may raise anything
        return None


def attribute_of(message: object, name: str) -> object:
    """Return what a foreign object has, such as an AMQP property; None if it has none."""
    try:
        return getattr(message, name, None)
    except Exception:  # noqa: BLE001 - a foreign object's own code may raise anything
        return None


def context_from(
    headers: Any,
    propagator: Propagator | None = None,
    message: object = None,
    property_of: PropertyOf = attribute_of,
) -> Context:
    """Return the context that `headers` carry, without extracting it again inside its own run.

    A propagator that reads properties too finds them in `message`, with `property_of`.
    """
    if propagator is None:
        store = active_store()
        # With a propagator of its own, the same headers may say something else.
        if store.headers is headers and headers is not None:
            return store.restored
        propagator = registry.propagator
    return propagator.extract_from(headers, message, property_of)


def snapshot_from(
    headers: Any,
    propagator: Propagator | None = None,
    message: object = None,
    property_of: PropertyOf = attribute_of,
) -> contextvars.Context:
    """Return a snapshot in which exactly the context that `headers` carry is active."""
    return context_from(headers, propagator, message, property_of).snapshot(headers)


def scope_from(
    headers: Any,
    propagator: Propagator | None = None,
    message: object = None,
    property_of: PropertyOf = attribute_of,
    *,
    origin_of: OriginOf | None = None,
    arguments: Arguments = (),
    name: str | None = None,
) -> Scope:
    """Return a `with` block inside exactly the context that `headers` carry.

    Its run is reported where `origin_of` tells where the message came from, as one of `name`, which
    a framework has for what it calls, or else of the function with the block.
    """
    context = context_from(headers, propagator, message, property_of)
    if origin_of is not None and registry.report is not None:
        origin = partial(origin_of, message, arguments)
        return block_scope(context, headers, origin, name)
    return Scope(context, exact=True, headers=headers)


class HandlerDecorator:
    """A decorator, bare or called with options, for one client's kind of handler.

    The decorated handler runs inside the context that its message brought, the empty one if
    it brought none, and keeps its kind (sync or `async def`), name, docstring and signature.
    No context variable that it sets reaches the next message. Decorating twice is the same as
    decorating once. `propagator=` extracts; by default, the default one at the time of the call.

    With `dead_letter=`, an exchange or a `DeadLetter`, mqctx settles the message: it acknowledges
    when the handler returns; when it raises, it sends a copy that tells why to that exchange, and
    acknowledges the message once the copy is confirmed. The handler must not settle.

    Raises:
        HandlerError: a function of a kind that could not keep the context.
        ConfigurationError: `propagator` is not one, or `dead_letter` cannot work.
    """

    def __init__(
        self,
        *arguments: str,
        carrier: str,
        kind: type,
        awaited_by_client: bool,
        property_of: PropertyOf = attribute_of,
        settler: Settler,
        origin_of: OriginOf | None = None,
    ) -> None:
        """Take the names that the client has for a handler's arguments; `carrier` has `headers`.

        `kind` is the client's own class for it. `settler` is called for handlers whose messages
        mqctx settles. `origin_of` tells where a message came from, for reports.
        """
        # help() tells of an instance's class only, unless its docstring differs from the class's.
        self.__doc__ = _USE.format(", ".join(arguments)) + cleandoc(type(self).__doc__ or "")
        self._arguments = arguments
        self._carrier = carrier
        self._kind = kind
        self._origin_of = origin_of
        self._awaited_by_client = awaited_by_client
        self._property_of = property_of
        self._settler = settler

    @overload
    def __call__(
        self,
        handler: Callable[P, R],
        /,
        *,
        propagator: Propagator | None = None,
        dead_letter: str | DeadLetter | None = None,
    ) -> Callable[P, R]: ...

    @overload
    def __call__(
        self,
        handler: None = None,
        /,
        *,
        propagator: Propagator | None = None,
        dead_letter: str | DeadLetter | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def __call__(
        self,
        handler: Any = None,
        /,
        *,
        propagator: Propagator | None = None,
        dead_letter: str | DeadLetter | None = None,
    ) -> Any:
        """Decorate `handler`, or return the decorator that will, with these options."""
        check_propagator(propagator)
        decorate: Any = partial(self._decorate, propagator)
        if dead_letter is not None:
            decorate = partial(self._settle, propagator, self._settler(dead_letter, propagator))
        return decorate if handler is None else decorate(handler)

    def _settle(
        self, propagator: Propagator | None, settle_calls: SettleCalls, handler: Callable[P, R]
    ) -> Callable[P, R]:
        """Decorate `handler` so that mqctx settles its message, too."""
        decorated = self._decorate(propagator, handler)  # refuses what cannot be decorated
        inner = getattr(decorated, _HANDLER) if decorated is handler else handler
        if hasattr(inner, _SETTLES):
            return decorated
        settling = settle_calls(inner, _bound_by(inner))
        setattr(settling, _SETTLES, True)
        return _marked(isolation.decorate(settling, self._inside(inner, propagator)), settling)

    def _decorate(self, propagator: Propagator | None, handler: Callable[P, R]) -> Callable[P, R]:
        if not callable(handler):
            raise HandlerError(
                f"{handler!r} is no handler: write `@consume_with_context` above a function, with "
                "options by name as in `@consume_with_context(propagator=...)`; which queue it "
                "consumes is for the client to be told"
            )
        if _is_decorated(handler):
            return handler
        if isolation.is_async(handler) and not self._awaited_by_client:
            raise HandlerError(
                f"{handler!r} is an `async def`, which this client calls but never awaits; give it "
                "a sync handler that starts the work: asyncio.run(work(...)) to wait for it, or "
                "loop.create_task(work(...)) on a running loop (the task keeps the context)"
            )
        return _marked(isolation.decorate(handler, self._inside(handler, propagator)), handler)

    def hook(self, handler: Any, propagator_now: Callable[[], Propagator | None]) -> Any:
        """Decorate a handler of an application that is instrumented from outside.

        While `propagator_now` gives None, the handler is called as it is. A handler that could not
        keep the context is returned as it is, for the client to treat as ever.
        """
        if not self._can_keep_context(handler) or _is_decorated(handler):
            return handler

        @lru_cache(maxsize=1)  # not decorated anew for each message
        def decorated(propagator: Propagator) -> Callable[..., Any]:
            return self._decorate(propagator, handler)

        def choose() -> Callable[..., Any]:
            propagator = propagator_now()
            return handler if propagator is None else decorated(propagator)

        return _marked(isolation.choose_at_call(handler, choose), handler)

    def _can_keep_context(self, handler: Any) -> bool:
        """Tell whether a handler is a function that the client calls, and awaits if it is async."""
        return (
            callable(handler)
            and not isolation.is_generator_function(handler)
            and (self._awaited_by_client or not isolation.is_async(handler))
        )

    def _inside(self, handler: Callable[..., Any], propagator: Propagator | None) -> CallInside:
        """Return a function that calls a handler inside the context that its message brought."""
        # Found out once, so that a call looks at nothing but its own arguments.
        position, name = place_of(self._carrier, self._arguments, handler)
        property_of, bound, origin_of = self._property_of, _bound_by(handler), self._origin_of

        def inside(function: Callable[..., Any], args: Arguments, kwargs: KeywordArguments) -> Any:
            try:
                message = kwargs[name] if kwargs and name in kwargs else args[position]
                headers = message.headers
            except Exception:  # noqa: BLE001 - a foreign object's own code may raise anything
                message, headers = self._search((*args, *kwargs.values(), *bound))
            # Written out: a call takes longer than its work, and there is one for each message.
            if headers is not None and active_store().headers is headers:
                context = context_from(headers, propagator, message, property_of)
            else:
                extract = (propagator or registry.propagator).extract_from
                context = extract(headers, message, property_of)
            if registry.report is not None and origin_of is not None:
                origin = partial(origin_of, message, (*args, *kwargs.values(), *bound))
                function = with_report(function, origin, headers, context)
            set_store(Store(context, headers, context))
            if registry.links:
                linked_vars.set_to(context.by_name)
            return function(*args, **kwargs) if kwargs else function(*args)

        return inside

    def _search(self, arguments: Arguments) -> tuple[object, Any]:
        """Return the message among the arguments of an unusual call, and its headers."""
        for argument in arguments:
            if isinstance(argument, self._kind):
                return argument, headers_of(argument)
        return _search_stand_in(arguments)


def _search_stand_in(arguments: Arguments) -> tuple[object, Any]:
    """Return a test's stand-in for a message, or one of the application's own, and its headers."""
    for argument in arguments:
        headers = headers_of(argument)
        if is_mapping(headers):
            return argument, headers
    return None, None


def _bound_by(handler: Any) -> Arguments:
    """Return the arguments that a partial adds."""
    return (*handler.args, *handler.keywords.values()) if isinstance(handler, partial) else ()


def _marked(decorated: Callable[P, R], handler: Callable[P, R]) -> Callable[P, R]:
    setattr(decorated, _HANDLER, handler)
    return decorated


def _is_decorated(handler: Callable[..., Any]) -> bool:
    """Tell whether `handler` itself, not only one that it wraps, restores a context already."""
    # `functools.wraps` copies the mark, too, to a wrapper around a decorated handler.
    decorated = getattr(handler, _HANDLER, None)
    return decorated is not None and decorated is getattr(handler, "__wrapped__", None)
