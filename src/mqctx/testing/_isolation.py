"""The context of a test: what it begins with, and what it leaves behind."""

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from contextvars import ContextVar, copy_context
from functools import wraps
from types import MethodType
from typing import Any, NamedTuple

from mqctx._core.active import scope
from mqctx._core.context import Context, as_context
from mqctx._core.isolation import is_async
from mqctx._core.registry import registry
from mqctx._core.scope import Scope
from mqctx._core.store import Store, active_store, current, set_store
from mqctx.testing._ledger import Ledger, Saved

_NOTHING = object()
_seen: ContextVar[Store | None] = ContextVar("mqctx.testing", default=None)
"""The store that pytest's own thread had when the code was called: an older one, or None, in a task
that was there before."""


class _Surroundings(NamedTuple):
    """The active store, and the values of the linked ContextVars beside it."""

    store: Store
    linked: Mapping[str, object]

    @staticmethod
    def here() -> "_Surroundings":
        linked = {each.name: each.read() for each in registry.links}
        return _Surroundings(active_store(), linked)

    def restore(self) -> None:
        set_store(self.store)
        for each in registry.links:
            value = self.linked.get(each.name, each.absent)
            if each.read() is not value:
                each.contextvar.set(value)


class _Leak(NamedTuple):
    """A store that was active at the end of something, and the values that it added."""

    store: Store
    values: dict[str, object]
    is_certain: bool
    """Whether nobody can leave it any more."""


class _Fixture:
    """A fixture that serves more than one test, and the process before it."""

    def __init__(self, surroundings: _Surroundings, saved: Saved) -> None:
        self.surroundings = surroundings
        self.saved = saved
        self.held: Store | None = None
        """The store of the scope that it holds."""
        self.is_over = False


class Isolation:
    """One test after the other, each from before its setup to after its teardown."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._leaks: list[_Leak] = []

    def begin(self, values: Mapping[str, object] | None) -> None:
        """Begin a test, in a scope with `values` if its markers name any, even none at all."""
        self._values = None if values is None else as_context(values)
        self._watch = registry.watch
        self._saved = self._ledger.save()
        registry.watch = self._ledger.note
        self._leaks = []
        self._base = _Surroundings.here()
        self._enter()

    def _enter(self) -> None:
        """Begin a scope for this test alone, if it wants one, or if a fixture holds one."""
        self._own = self._base.store
        if self._values is not None or self._own.active:
            Scope(self._values or Context()).__enter__()
            self._own = active_store()

    def end(self) -> list[dict[str, object]]:
        """Undo what the test did, and return the values of each scope that it did not leave."""
        # In this order: a leak is told by what is active, and the ledger's changes come last.
        self._settle()
        self._base.restore()
        self._ledger.restore(self._saved)
        registry.watch = self._watch
        leaks = [leak for leak in self._leaks if leak.is_certain or leak.store.held]
        return list({id(leak.store): leak.values for leak in leaks}.values())

    def _settle(self) -> None:
        """Note a scope that all who could leave it did not."""
        if active_store() not in (self._own, self._base.store):
            self._note_leak(self._own, is_certain=True)
            set_store(self._own)

    def _note_leak(self, before: Store, *, is_certain: bool = False) -> None:
        known = before.now()
        values = {k: v for k, v in current().items() if known.get(k, _NOTHING) is not v}
        self._leaks.append(_Leak(active_store().live, values, is_certain))

    @contextmanager
    def around_shared_fixture(
        self, values: Mapping[str, object] | None, at_its_end: Callable[[Callable[[], None]], None]
    ) -> Generator[None]:
        """Set up a fixture that serves more than this test: not in the scope of this one.

        Args:
            values: Those that the markers name of all tests that it serves.
            at_its_end: Registers a function, to be called after those that were registered later.
        """
        mine, fixture = _Surroundings.here(), _Fixture(self._base, self._ledger.save())
        at_its_end(lambda: self._end_fixture(fixture))
        self._base.restore()
        # Never left: the store that is active around the fixture is put back as a whole.
        if values is not None:
            scope(values).__enter__()
        before = active_store()
        try:
            with self._ledger.made_by(lambda: not fixture.is_over):
                yield
        finally:
            self._return_to(mine, before, fixture)
        at_its_end(self._settle)

    def _return_to(self, mine: _Surroundings, before: Store, fixture: _Fixture) -> None:
        if active_store() is not before:
            fixture.held = active_store()
            self._base = _Surroundings.here()
            if mine.store is self._own:
                self._enter()
                return
        mine.restore()

    def _end_fixture(self, fixture: _Fixture) -> None:
        fixture.is_over = True
        self._ledger.restore(fixture.saved)
        self._saved = self._ledger.save()
        if fixture.held is None:
            return
        if fixture.held.held:
            self._note_leak(fixture.surroundings.store, is_certain=True)
        self._base = fixture.surroundings
        self._base.restore()
        self._enter()

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a test function of the same kind, in the scope of its test on whichever loop."""
        self._see()
        if is_async(function):

            @wraps(function)
            async def watched_async(*args: Any, **kwargs: Any) -> Any:
                with self._around_body() as before:
                    try:
                        return await function(*args, **kwargs)
                    finally:
                        self._look(before)
                        # The task may go on with the next test.
                        set_store(before)

            return watched_async

        @wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            before = active_store()
            try:
                return function(*args, **kwargs)
            finally:
                self._look(before)

        return watched

    def reaching(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function of a fixture, in the scope of its test on whichever loop."""
        self._see()
        if inspect.ismethod(function):
            return MethodType(self.reaching(function.__func__), function.__self__)
        if not self._main.active:
            return function
        if inspect.isasyncgenfunction(function):

            @wraps(function)
            async def generated(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                with self._around_body():
                    # Closed with this one: else it would end when it is collected, in no scope.
                    async with aclosing(function(*args, **kwargs)) as values:
                        async for value in values:
                            yield value

            return generated
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def returned(*args: Any, **kwargs: Any) -> Any:
                with self._around_body():
                    return await function(*args, **kwargs)

            return returned
        return function

    def _see(self) -> None:
        self._main = active_store()
        _seen.set(self._main)

    @contextmanager
    def _around_body(self) -> Generator[Store]:
        if not self._main.active or _seen.get() is self._main:
            yield active_store()
            return
        before = _seen.get()
        _seen.set(self._main)
        with scope(self._main.now()):
            yield active_store()
        _seen.set(before)

    def _look(self, before: Store) -> None:
        # A fixture may leave it yet, such as an ExitStack that the test has entered it in.
        if active_store().live is not before.live:
            self._note_leak(before)

    @contextmanager
    def around_async_case(self, case: Any) -> Generator[None]:
        """Run an `IsolatedAsyncioTestCase`, which copied the context variables when collected."""
        if active_store().active:
            case._asyncioTestContext = copy_context()
        before = case._asyncioTestContext.run(active_store)
        try:
            yield
        finally:
            case._asyncioTestContext.run(self._look, before)
