"""The context: what it is, and how it becomes and stops being the active one.

One `ContextVar` holds a store for the innermost run or scope, and the store holds the immutable
`Context`. So whoever copied the context variables of a run (its tasks, its threads) shares the
store, and sees what `bind` adds.
"""

import contextvars
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar, Token, copy_context
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, cast

import msgspec

from mqctx._core import isolation, linked_vars
from mqctx._core.isolation import Arguments, KeywordArguments
from mqctx._core.values import check, local, undeclared
from mqctx._core.wrapped import AsyncWrapped, Wrapped
from mqctx.errors import InactiveError, MissingValueError, ScopeError

P = ParamSpec("P")
R = TypeVar("R")


Origin: TypeAlias = Literal["here", "signed", "unsigned"]
"""Whose word a value is: this process's, or somebody else's, signed or not."""

_NONE: frozenset[str] = frozenset()
_new = object.__new__  # half the time of asking the class for it


class Context(Mapping[str, Any]):
    """An immutable mapping of names to values.

    Lists and dicts among the values are copied where they are set; treat them as read-only.
    Values of another `Context` keep their `origin`; all other values are this process's own word.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed) of 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
    """

    __slots__ = ("_derived", "_values", "encoded", "signed", "unsigned")

    _values: Mapping[str, Any]
    _derived: "Context | None"
    unsigned: Collection[str]
    """Names whose values were read without a signature: anybody may have written them."""
    signed: Collection[str]
    """Names whose values were read with a signature that counts."""
    encoded: tuple[object, Any] | None
    """The propagator that encoded this context last, and what it made."""

    def __init__(self, values: Mapping[str, object] | None = None, /, **more: object) -> None:
        given = {**values, **more} if values else more
        # The usual values are checked here, for a call of `check` takes longer than its work.
        self._values = {
            name: value
            if type(value) is str and name in undeclared and value.isascii()
            else check(name, value)
            for name, value in given.items()
        }
        self.unsigned = self.signed = _NONE
        if isinstance(values, Context):
            self.unsigned = _left_of(values.unsigned, more)
            self.signed = _left_of(values.signed, more)
        self._derived = None
        self.encoded = None

    @staticmethod
    def _from_checked(
        values: Mapping[str, Any],
        unsigned: Collection[str] = _NONE,
        signed: Collection[str] = _NONE,
    ) -> "Context":
        """Make a context of values that were checked before, and say which others wrote.

        Where all are unsigned, `unsigned` may be `values` itself, which costs nothing.
        """
        context = _new(Context)
        context._values = values
        context.unsigned = unsigned
        context.signed = signed
        context._derived = None
        context.encoded = None
        return context

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __or__(self, other: Mapping[str, object]) -> "Context":
        """Return a context with the values of both; where both have a name, `other`'s."""
        added = as_context(other)
        values = {**self._values, **added._values}
        unsigned = _left_of(self.unsigned, added._values, added.unsigned)
        signed = _left_of(self.signed, added._values, added.signed)
        return Context._from_checked(values, unsigned, signed)

    def __ror__(self, other: Mapping[str, object]) -> "Context":
        return as_context(other) | self

    def __repr__(self) -> str:
        return f"<Context {' '.join(f'{k}={v!r}' for k, v in self._values.items()) or 'empty'}>"

    def __copy__(self) -> "Context":
        return self

    def __deepcopy__(self, memo: object) -> "Context":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        values = self.propagated()
        unsigned, signed = (frozenset(values) & set(m) for m in (self.unsigned, self.signed))
        return Context._from_checked, (values, unsigned, signed)

    def origin(self, name: str) -> Origin:
        """Return whose word the value of `name` is.

        `"here"`: this process set it. `"signed"`: it was read from a header whose signature
        counts. `"unsigned"`: it was read from one that anybody may have written, so it is never
        signed onward, and nothing should be allowed because of it.

        Raises:
            MissingValueError: there is no such value.
        """
        if name not in self._values:
            raise MissingValueError(f"{name}: the context has no such value")
        if name in self.unsigned:
            return "unsigned"
        return "signed" if name in self.signed else "here"

    def propagated(self) -> Mapping[str, Any]:
        """Return the names and values that may leave the process: all but the local ones."""
        if not local or local.isdisjoint(self._values):
            return self._values
        return {name: value for name, value in self._values.items() if name not in local}

    def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` inside exactly this context, and return what it returns.

        Takes sync functions and `async def`s (await the result), partials, bound methods and
        async callables. No context variable that it sets reaches the caller.

        Raises:
            HandlerError: `function` is a generator function, sync or async.
        """
        snapshot = copy_context()
        result = snapshot.run(call_inside, Store(self, None, self), function, args, kwargs)
        return result if result is None else isolation.returned(result, snapshot, function)

    def wrap(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` bound to this context, for threads, processes and timers.

        The result can be pickled if `function` can; local values stay behind then.

        Raises:
            HandlerError: `function` is a generator function, sync or async.
        """
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
        store = Store(self, headers, self)
        return copy_context().run(call_inside, store, copy_context, (), {})

    def captured(self) -> "Context":
        """Return this context with what the joined ContextVars hold at this moment."""
        for known in (self, self._derived):
            if known is not None and linked_vars.matches(known._values):
                return known
        values = linked_vars.captured(self._values)
        replaced = {name for name in values if values[name] is not self._values.get(name)}
        unsigned, signed = (_left_of(m, replaced) for m in (self.unsigned, self.signed))
        self._derived = Context._from_checked(values, unsigned, signed)
        return self._derived


EMPTY = Context()
from_checked = Context._from_checked  # pyright: ignore[reportPrivateUsage]  # in its own module
"""Makes a context of values that were checked before, and of the names that others wrote."""


def _left_of(
    marked: Collection[str], replaced: Collection[str], added: Collection[str] = _NONE
) -> Collection[str]:
    """Return the names that are still marked where some values were replaced, and those `added`."""
    if not marked and not added:
        return _NONE
    return frozenset([*(name for name in marked if name not in replaced), *added])


class Store(msgspec.Struct):
    """What is active in one run or scope; `bind` replaces its context.

    A Struct, since one is made for each message; one that the garbage collector follows, since a
    local value may refer to it.
    """

    context: Context
    headers: object = None
    """Those of the message that is being handled."""
    restored: Context = EMPTY
    """What was extracted from `headers`."""
    active: bool = True
    """False outside every run and scope, where there is nothing to add to."""
    has_linked: bool = True
    """Whether the linked ContextVars beside it are its own."""

    @property
    def live(self) -> "Store":
        """Itself; what stands in place of a store has here the one that it stands for."""
        return self


_OUTSIDE = Store(EMPTY, active=False)
_store: ContextVar[Store] = ContextVar("mqctx", default=_OUTSIDE)
active_store = _store.get
"""Returns the store of the innermost run or scope: for what is done for each message."""
set_store = _store.set
_binding = threading.Lock()


def call_inside(
    store: Store, function: Callable[..., R], args: Arguments, kwargs: KeywordArguments
) -> R:
    """Call `function` with `store` active, which it stays: in a snapshot of its own."""
    set_store(store)
    if linked_vars.linked:
        linked_vars.set_to(store.context)
    return function(*args, **kwargs) if kwargs else function(*args)


def as_context(values: Mapping[str, object]) -> Context:
    """Return `values` as a context: itself if it is one, else a checked copy."""
    return values if type(values) is Context else Context(values)


def current() -> Context:
    """Return the active context: the empty one outside every run and scope, never None."""
    store = _store.get()
    return store.context.captured() if linked_vars.linked and store.has_linked else store.context


def restored_here(headers: object) -> Context | None:
    """Return the context that was extracted from these very `headers` for the run under way.

    So a handler that is decorated, and hooked too, extracts once.
    """
    store = _store.get()
    return store.restored if store.headers is headers and headers is not None else None


def run(
    values: Mapping[str, object], function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call `function` inside a context of exactly `values`, isolated from what is active.

    Takes sync functions and `async def`s (await the result), partials, bound methods and
    async callables. No context variable that it sets reaches the caller.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed) of 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
        HandlerError: `function` is a generator function, sync or async.
    """
    return as_context(values).run(function, *args, **kwargs)


def wrap(function: Callable[P, R], /) -> Callable[P, R]:
    """Return `function` bound to the context that is active now: `current().wrap(function)`."""
    return current().wrap(function)


def bind(values: Mapping[str, object] | None = None, /, **more: object) -> None:
    """Add values to the innermost run or scope that is under way, for all that runs in it.

    Its tasks and threads see them too, the ones that are already at work included.

    Raises:
        InactiveError: no run and no scope is active.
        InvalidNameError: a name is not an identifier (`.` and `-` allowed) of 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
    """
    added = Context(values, **more)
    store = _store.get().live
    if not store.active:
        raise InactiveError(
            f"bind({', '.join(added)}) outside a run would leak to whatever comes next; "
            "start one at the edge with run(...) or `with scope(...):`"
        )
    with _binding:
        store.context = store.context | added
    for name, other in linked_vars.linked.items():
        if name in added:
            other.contextvar.set(added[name])


_Setting: TypeAlias = tuple[Token[Any], object, object]
"""What was set, to which value, and what stands for none."""


class Scope(msgspec.Struct, eq=False):
    """A `with` block, or a decorator, inside a context.

    An object is in use by one `with` block at a time; take a new one for each.
    """

    context: Context
    exact: bool = False
    """Whether it is the whole of what is active inside, or added to what is active outside."""
    headers: object = None
    """Those that the context was extracted from."""
    _entered: list[_Setting] = []

    def __enter__(self) -> Context:
        if self._entered:
            raise ScopeError("this scope is in use; call scope(...) anew for each `with` block")
        context = self._chosen()
        if self.exact:
            store = Store(context, self.headers, context)
        else:
            around = active_store()
            store = Store(context, around.headers, around.restored)
        self._entered = [(set_store(store), store, _OUTSIDE)]
        if linked_vars.linked:
            for other, value in linked_vars.assignments(context):
                self._entered.append((other.contextvar.set(value), value, other.absent))
        return context

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entered, self._entered = self._entered, []
        for setting in reversed(entered):
            _reset(*setting)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with each call inside the context, as it is at the call."""

        def inside(function: Callable[..., R], args: Arguments, kwargs: KeywordArguments) -> R:
            context = self._chosen()
            return call_inside(Store(context, None, context), function, args, kwargs)

        return isolation.decorate(function, inside)

    def _chosen(self) -> Context:
        around = EMPTY if self.exact else current()
        return self.context if around is EMPTY else around | self.context


def scope(values: Mapping[str, object] | None = None, /, **more: object) -> Scope:
    """Return a `with` block, or decorator, in which `values` are added to the active context.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed) of 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
    """
    return Scope(Context(values, **more))


def _reset(token: Token[Any], value: object, absent: object) -> None:
    """Undo a setting, exactly; in another snapshot than its own, as far as it reached there."""
    try:
        token.var.reset(token)
    except ValueError:
        # A generator, or a framework, entered and left the scope in two different spaces. Where
        # ours was copied along it ends here; what else is active in this snapshot is not ours.
        if token.var.get(absent) is value:
            missing = token.old_value is Token.MISSING
            token.var.set(absent if missing else token.old_value)
