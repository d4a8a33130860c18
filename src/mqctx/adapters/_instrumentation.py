"""Hook a client library's classes, for the whole library or for some of its objects."""

import functools
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import msgspec

from mqctx._core.isolation import is_async, mark_async
from mqctx._core.values import type_name
from mqctx._propagation.propagator import Propagator, check_propagator, registry
from mqctx.errors import ConfigurationError

Method: TypeAlias = Callable[..., Any]
_Chosen: TypeAlias = tuple[Propagator | None]
"""The propagator that was given, or None for whichever is the default one at the call."""


class Instrument(Protocol):
    """The signature of an adapter's `instrument`."""

    def __call__(self, target: object = None, *, propagator: Propagator | None = None) -> None: ...


class Uninstrument(Protocol):
    """The signature of an adapter's `uninstrument`."""

    def __call__(self, target: object = None) -> None: ...


class InjectedHeaders(dict[str, Any]):
    """Headers that are injected already: a hook further down sends them as a plain dict."""


class Hook(msgspec.Struct, frozen=True):
    """One method of a client's class, and the function that makes its replacement from it."""

    owner: type
    name: str
    around: Callable[[Method], Method]

    def placed_around(self, method: Method) -> Method:
        """Return the replacement of `method`, which passes for it."""
        hooked: Method = functools.wraps(method)(self.around(method))
        if is_async(method) and not is_async(hooked):
            mark_async(hooked)  # an `async def` would take the context only when first awaited
        return hooked


def _never_forks(**_: object) -> None:
    """Stand in for `os.register_at_fork` on platforms without it."""


def _itself(user: object) -> tuple[object]:
    return (user,)


class Instrumentation:
    """The hooks of one client library: in place while anything of it is instrumented.

    A hook asks `propagator_for` at each call, and leaves the call alone where it gets None.
    """

    def __init__(self, *targets: type, busy: Callable[[], bool] = lambda: False) -> None:
        """Accept objects of `targets` besides the library as a whole.

        The hooks stay as long as `busy()`: they still have something to undo.
        """
        self._kinds = targets
        self._busy = busy
        self._own: dict[Hook, Method] = {}
        self._whole: _Chosen | None = None
        self._targets: WeakKeyDictionary[object, _Chosen] = WeakKeyDictionary()
        # Asked for each message, of which a WeakKeyDictionary would make a call.
        self._has_targets = False
        self._placed: dict[Hook, tuple[Method, Method]] = {}
        self._unlock()
        # A fork may leave the lock with a thread that is not in the child.
        at_fork: Callable[..., None] = getattr(os, "register_at_fork", _never_forks)
        at_fork(after_in_child=self._unlock)
        self.in_place = False
        """Whether hooks are in place."""

    def _unlock(self) -> None:
        # Re-entrant: a signal handler may interrupt the thread that holds it.
        self._placing = threading.RLock()
        self._is_at_work = self._is_due = False

    def use(self, *hooks: Hook) -> None:
        """Set the hooks, which refer to this object and are therefore made after it."""
        self._own = {hook: vars(hook.owner)[hook.name] for hook in hooks}

    @property
    def targets(self) -> tuple[object, ...]:
        """The objects that are instrumented."""
        # The references are copied in one step; to iterate fails where a thread adds one meanwhile.
        known = (reference() for reference in self._targets.keyrefs())
        return tuple(target for target in known if target is not None)

    def instrument(self, target: object = None, *, propagator: Propagator | None = None) -> None:
        """Let the client's own calls carry the context, with no change in the application.

        Call it as often as you like, before or after connections exist. Consumers that have
        already started go on as they are.

        Args:
            target: A connection or channel. None: the client library as a whole.
            propagator: Injects and extracts. None: the default one at each call.

        Raises:
            ConfigurationError: `target` cannot be instrumented, or `propagator` is not one.
        """
        check_propagator(propagator)
        with self._placing:
            if target is None:
                self._whole = (propagator,)
            elif isinstance(target, self._kinds):
                self._targets[target] = (propagator,)
                self._has_targets = True
            else:
                kinds = ", ".join(type_name(kind) for kind in self._kinds)
                raise ConfigurationError(f"{target!r} cannot be instrumented; give one of: {kinds}")
            self.tidy()

    def share(self, source: object, clone: object) -> None:
        """Instrument `clone` like `source`, if that is instrumented."""
        if chosen := self._targets.get(source):
            self._targets[clone] = chosen

    def uninstrument(self, target: object = None) -> None:
        """Undo `instrument` for the same target. After the last one, no hook is left."""
        if target is None:
            self._whole = None
        else:
            self._targets.pop(target, None)
        self.tidy()

    def tidy(self) -> None:
        """Place the hooks if anything is instrumented, else remove those with nothing to undo.

        A signal handler that interrupts this leaves it to the interrupted call, which does it anew.
        """
        with self._placing:
            self._is_due = True
            if self._is_at_work:
                return
            self._is_at_work = True
            try:
                self._is_due = False
                self._place_or_remove()
            finally:
                self._is_at_work = False
            if self._is_due:
                self.tidy()

    def _place_or_remove(self) -> None:
        # Once the last one is gone, no call asks for the owners of what it is made on. A signal
        # handler that adds one at this line has it done anew.
        self._has_targets = bool(self._targets)
        if self._is_in_use:
            for hook in self._own:
                self._place(hook)
        elif not self._busy():
            for hook in tuple(self._placed):
                self._remove(hook)

    @property
    def _is_in_use(self) -> bool:
        return self._whole is not None or bool(self._targets)

    def propagator_for(
        self, user: Any, owners: Callable[[Any], Iterable[object]] = _itself
    ) -> Propagator | None:
        """Return the propagator for a call on the first of a user's `owners` that is instrumented.

        None if none of them is, nor the library as a whole.
        """
        # Looked up once, and kept: another thread may uninstrument meanwhile.
        chosen = self._whole
        if self._has_targets:
            chosen = self._chosen_for(owners(user)) or chosen
        return (chosen[0] or registry.propagator) if chosen else None

    def _chosen_for(self, owners: Iterable[object]) -> _Chosen | None:
        # `in` goes first, since `get` raises over an object that allows no weak reference.
        chosen = (self._targets.get(each) for each in owners if each in self._targets)
        return next(filter(None, chosen), None)

    def _place(self, hook: Hook) -> None:
        there = vars(hook.owner)[hook.name]
        if hook in self._placed and not self._is_put_back(hook, there):
            return  # in place, or below another's
        # Taken from the class, not out of its dict: only then does a method that wrapt wrapped, for
        # OpenTelemetry and others, find the instance among the arguments.
        hooked = hook.placed_around(getattr(hook.owner, hook.name))
        setattr(hook.owner, hook.name, hooked)
        self._placed[hook] = (there, hooked)
        self.in_place = True

    def _is_put_back(self, hook: Hook, there: object) -> bool:
        """Tell whether the method without hook was put back, as `mock.patch` does at its end."""
        return there is self._own[hook] or there is self._placed[hook][0]

    def _remove(self, hook: Hook) -> None:
        original, hooked = self._placed[hook]
        # A wrapper that came after us still calls it: it stays there, and lets each call pass.
        if vars(hook.owner).get(hook.name) is hooked:
            setattr(hook.owner, hook.name, original)
            del self._placed[hook]
            self.in_place = bool(self._placed)
