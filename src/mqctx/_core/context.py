"""The context: an immutable mapping, which can be made the active one."""

import contextvars
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import copy_context
from operator import is_
from types import CoroutineType
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, cast

from mqctx._core import isolation, linked_vars
from mqctx._core.isolation import awaited
from mqctx._core.linked_vars import MISSING
from mqctx._core.registry import registry
from mqctx._core.scope import Scope
from mqctx._core.store import OUTSIDE, Store, active_store, call_inside, set_store
from mqctx._core.values import check_each
from mqctx._core.wrapped import AsyncWrapped, Wrapped
from mqctx.errors import HandlerError, MissingValueError

P = ParamSpec("P")
R = TypeVar("R")


Origin: TypeAlias = Literal["here", "signed", "unsigned"]
"""The source of a value: this process, or another one, signed or not."""

_NONE: frozenset[str] = frozenset()
_NOTHING: Mapping[object, Any] = {}
_MOST_SHOWN = 8
_NOT_ENCODED: tuple[object, object, Any] = None, None, None
_new = object.__new__  # half the time of asking the class for it


class Context(Mapping[str, Any]):
    """An immutable mapping of names to values.

    Lists and dicts among the values are copied where they are set; treat them as read-only.
    Values of another `Context` keep their `origin`; all other values are this process's own word.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed), or over 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
    """

    __slots__ = ("_derived", "_make", "by_name", "encoded", "shown", "signed", "unsigned")

    by_name: Mapping[str, Any]
    """The values: a dict, which is never written to."""
    _derived: "tuple[Mapping[str, object], Context] | None"
    _make: Callable[[], Mapping[str, Any]]
    """Makes the values of one that nobody has read."""
    unsigned: Collection[str]
    """Names whose values were read without a signature: anybody may have written them."""
    signed: Collection[str]
    """Names whose values were read with a signature that counts."""
    encoded: tuple[object, object, Any]
    """The propagator that encoded this context last, among which declarations, what it made."""
    shown: Mapping[object, Any]
    """The values that log lines and calls show, by the object that has their settings."""

    def __init__(self, values: Mapping[str, object] | None = None, /, **more: object) -> None:
        self.by_name = check_each({**values, **more} if values else more)
        self.unsigned = self.signed = _NONE
        if values and isinstance(values, Context):
            self.unsigned = _left_of(values.unsigned, more)
            self.signed = _left_of(values.signed, more)
        self._derived = None
        self.encoded = _NOT_ENCODED
        self.shown = _NOTHING

    @staticmethod
    def _from_checked(
        values: Mapping[str, Any],
        unsigned: Collection[str] = _NONE,
        signed: Collection[str] = _NONE,
    ) -> "Context":
        """Make a context of values that were checked before, and say which others wrote.

        If all are unsigned, `unsigned` may be `values` itself, which costs nothing.
        """
        context = _new(Context)
        context.by_name = values
        context.unsigned = unsigned
        context.signed = signed
        context._derived = None
        context.encoded = _NOT_ENCODED
        context.shown = _NOTHING
        return context

    @staticmethod
    def _from_unread(
        make: Callable[[], Mapping[str, Any]], unsigned: Collection[str] = _NONE
    ) -> "Context":
        """Make a context of values that are made, by `make`, when somebody reads one.

        Two threads that read at once may both call it.
        """
        context = _new(_Unread)
        context._make = make
        context.unsigned = unsigned
        context.signed = _NONE
        context._derived = None
        context.encoded = _NOT_ENCODED
        context.shown = _NOTHING
        return context

    def __getitem__(self, name: str) -> Any:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    def get(self, name: str, /, default: Any = None) -> Any:
        """Return the value of `name`, or `default` if there is none."""
        return self.by_name.get(name, default)

    def __or__(self, other: Mapping[str, object]) -> "Context":
        """Return a context with the values of both; if both have a name, `other`'s counts."""
        added = other if type(other) is Context else as_context(other)
        if not self.by_name:
            return added  # itself: it keeps what it was encoded to
        values = {**self.by_name, **added.by_name}
        if not (self.unsigned or self.signed or added.unsigned or added.signed):
            return Context._from_checked(values)
        unsigned = _left_of(self.unsigned, added.by_name, added.unsigned)
        signed = _left_of(self.signed, added.by_name, added.signed)
        return Context._from_checked(values, unsigned, signed)

    def __ror__(self, other: Mapping[str, object]) -> "Context":
        return as_context(other) | self

    def __repr__(self) -> str:
        return f"<Context {' '.join(f'{k}={v!r}' for k, v in self.by_name.items()) or 'empty'}>"

    def __copy__(self) -> "Context":
        return self

    def __deepcopy__(self, memo: object) -> "Context":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        values = self.propagated()  # a local value is not for another process
        unsigned, signed = (frozenset(values) & set(m) for m in (self.unsigned, self.signed))
        return _unpickled, (values, unsigned, signed)

    def origin(self, name: str) -> Origin:
        """Return the source of the value of `name`.

        `"here"`: this process set it. `"signed"`: it was read from a header whose signature
        counts. `"unsigned"`: it was read from one that anybody may have written, so it is never
        signed onward, and nothing should be allowed because of it.

        Raises:
            MissingValueError: there is no such value.
        """
        if name not in self.by_name:
            raise MissingValueError(f"{name}: the context has no such value")
        if name in self.unsigned:
            return "unsigned"
        return "signed" if name in self.signed else "here"

    def propagated(self) -> Mapping[str, Any]:
        """Return the names and values that may leave the process: all but the local ones."""
        local = registry.local
        if not local or local.isdisjoint(self.by_name):
            return self.by_name
        return {name: value for name, value in self.by_name.items() if name not in local}

    def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` inside exactly this context, and return what it returns.

        Takes sync functions and `async def`s (await the result), partials, methods and async
        callables. No context variable that it sets reaches the caller.

        Raises:
            HandlerError: `function` is a generator function, sync or async.
        """
        snapshot = copy_context()
        around = active_store()
        store = Store(self, around.headers, around.restored)
        result = snapshot.run(call_inside, store, function, args, kwargs)
        if type(result) is CoroutineType:  # as `returned` does, without one more call
            return awaited(snapshot, result)  # type: ignore[arg-type, return-value]  # R is a coroutine's type
        return result if result is None else isolation.returned(result, snapshot, function)

    def wrap(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` wrapped so that it runs in this context in threads and processes.

        The result can be pickled if `function` can; local values stay behind then.

        Raises:
            HandlerError: `function` is a generator function, sync or async.
        """
        if not callable(function):
            raise HandlerError(f"{function!r} is no function: give the one to call, not its result")
        isolation.refuse_generator_function(function)
        kind = AsyncWrapped if isolation.is_async(function) else Wrapped
        return cast("Callable[P, R]", kind(self, function))

    def scope(self) -> "Scope":
        """Return a `with` block, or decorator, inside exactly this context."""
        return Scope(self, exact=True)

    def snapshot(self, headers: object = None) -> contextvars.Context:
        """Return a copy of the current context variables in which this context is active.

        With the `headers` that it was extracted from, if it was.
        """
        snapshot = copy_context()
        # As `enter` does, but mostly without a call in Python: there is one for each request.
        snapshot.run(set_store, Store(self, headers, self))
        if registry.linked:
            snapshot.run(linked_vars.set_to, self.by_name)
        return snapshot

    def with_held(self, held: Mapping[str, object]) -> "Context":
        """Return this context with the values that linked ContextVars hold."""
        # The same again for each message of a run, so that it is encoded once.
        if self._derived is None or not _are_same(self._derived[0], held):
            # By identity: whoever set it meant this object, and `==` of a foreign one may raise.
            changed = {n: v for n, v in held.items() if v is not self.by_name.get(n, MISSING)}
            if not changed:
                return self
            self._derived = held, self._changed(changed)
        return self._derived[1]

    def _changed(self, changed: Mapping[str, object]) -> "Context":
        """Return this context with other values of these names, without those `MISSING`."""
        values = {n: v for n, v in {**self.by_name, **changed}.items() if v is not MISSING}
        unsigned, signed = _left_of(self.unsigned, changed), _left_of(self.signed, changed)
        return Context._from_checked(values, unsigned, signed)


class _Unread(Context):
    """A context until one of its values is read. Then it is like any other, and as fast."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name != "by_name":
            raise AttributeError(name)
        self.by_name = self._make()
        self.__class__ = Context  # type: ignore[assignment]  # of the same layout
        return self.by_name


EMPTY = Context()
# That store had to exist first, for this class makes others like it.
OUTSIDE.context = OUTSIDE.restored = EMPTY
from_checked = Context._from_checked  # pyright: ignore[reportPrivateUsage]  # in its own module
"""Makes a context of values that were checked before, and of the names that others set."""
from_unread = Context._from_unread  # pyright: ignore[reportPrivateUsage]  # in its own module
"""Makes a context of values that are made when somebody reads one."""


def keep_shown(context: Context, by: object, shown: object) -> None:
    """Keep with a context what the object with some settings shows of it."""
    others = context.shown if len(context.shown) < _MOST_SHOWN else _NOTHING
    context.shown = {**others, by: shown}


def _left_of(
    marked: Collection[str], replaced: Collection[str], added: Collection[str] = _NONE
) -> Collection[str]:
    """Return the names still marked after some values were replaced, and those `added`."""
    return frozenset(marked).difference(replaced).union(added)


def _are_same(some: Mapping[str, object], others: Mapping[str, object]) -> bool:
    """Tell whether both have the same names and objects, in the same order."""
    return [*some] == [*others] and all(map(is_, some.values(), others.values()))


def _unpickled(
    values: Mapping[str, Any], unsigned: Collection[str], signed: Collection[str]
) -> Context:
    """Return a context that was pickled, without what is local by now."""
    return from_checked(from_checked(values).propagated(), unsigned, signed)


def as_context(values: Mapping[str, object]) -> Context:
    """Return `values` as a context: itself if it is one, else a checked copy."""
    return values if isinstance(values, Context) else Context(values)
