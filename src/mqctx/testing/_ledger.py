"""Take back what a test has configured, declared and linked, but keep what outlives it."""

import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from mqctx._core.registry import Change, Registry, registry

_Lasts: TypeAlias = Callable[[], bool]
"""Tells whether a change still counts."""


class Saved(NamedTuple):
    """The state of the process at a moment, and the number of lasting changes until then."""

    state: Registry[Any]
    lasting: int


class Ledger:
    """The changes of a test session that outlive the test in which they were made.

    They are those of modules, made when they are first imported, and of fixtures that serve more
    than one test.
    """

    def __init__(self) -> None:
        self._lasting: list[tuple[Change, _Lasts]] = []
        self._fixtures: list[_Lasts] = []

    def save(self) -> Saved:
        """Return the state of this moment."""
        return Saved(registry.snapshot(), len(self._lasting))

    def restore(self, saved: Saved) -> None:
        """Put the state back that was saved, with the changes since that still count."""
        registry.restore(saved.state)
        for change, lasts in self._lasting[saved.lasting :]:
            if lasts():
                change(registry)

    @contextmanager
    def made_by(self, fixture: _Lasts) -> Generator[None]:
        """Count the changes in the block for as long as the fixture lasts."""
        self._fixtures.append(fixture)
        try:
            yield
        finally:
            self._fixtures.pop()

    def note(self, change: Change) -> None:
        """Remember a change if it outlives the test."""
        lasts = _module_at_work() or (self._fixtures[-1] if self._fixtures else None)
        if lasts is not None:
            self._lasting.append((change, lasts))


def _module_at_work() -> _Lasts | None:
    """Return whether the module lasts whose own code is running, None if none is running."""
    # A module declares its variables while it is imported, which may be in the middle of a test.
    frame = inspect.currentframe()
    while frame is not None and not _is_pytests(frame.f_globals):
        if frame.f_code.co_name == "<module>":
            return _is_loaded(frame.f_globals)
        frame = frame.f_back
    return None


def _is_pytests(names: dict[str, Any]) -> bool:
    return str(names.get("__name__")).partition(".")[0] in ("_pytest", "pluggy")


def _is_loaded(names: dict[str, Any]) -> _Lasts:
    """Return a function that tells whether a module with these names can be imported again."""

    def lasts() -> bool:
        module = sys.modules.get(names.get("__name__", ""))
        return module is not None and vars(module) is names

    return lasts
