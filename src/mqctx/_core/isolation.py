"""Call a function in a snapshot: a copy of the context variables that no setting leaves again.

Here, and nowhere else in mqctx, sync and async part ways.
"""

import contextvars
import functools
import inspect
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from types import CoroutineType
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar, cast

from mqctx.errors import HandlerError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_send: Callable[..., Any] = vars(CoroutineType)["send"]


def call(
    snapshot: contextvars.Context | None,
    function: Callable[P, R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Call `function` in `snapshot`; what an `async def` returns runs there too, when awaited.

    Without a snapshot, just call it.
    """
    if snapshot is None:
        return function(*args, **kwargs)
    result = snapshot.run(function, *args, **kwargs)
    return result if result is None else returned(result, snapshot, function)


def returned(result: R, snapshot: contextvars.Context, function: Callable[..., R]) -> R:
    """Return the result of `function` in `snapshot`; a coroutine goes on there."""
    # The usual type is checked first; the abstract class takes ten times as long.
    coroutine: Any = result  # a `cast` is a call
    if type(coroutine) is CoroutineType:
        return awaited(snapshot, coroutine)  # type: ignore[return-value]  # R is a coroutine's type
    if isinstance(coroutine, Coroutine):
        return _awaited_in_steps(snapshot, coroutine)  # type: ignore[return-value]  # as above
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        refuse_generator_function(function)
    return result


async def awaited(snapshot: contextvars.Context, coroutine: "CoroutineType[object, Any, R]") -> R:
    """Return what a coroutine of the interpreter's own returns, having run in `snapshot`."""
    try:
        # Of the type: a method of the object would be made for this one call.
        step = snapshot.run(_send, coroutine, None)
    except StopIteration as finished:  # mostly, as many never wait: without a generator of our own
        return finished.value  # type: ignore[no-any-return]  # the coroutine's own result
    return await in_steps(snapshot, coroutine, _taken(step))


async def _awaited_in_steps(
    snapshot: contextvars.Context, coroutine: Coroutine[object, Any, R]
) -> R:
    return await in_steps(snapshot, coroutine)


@types.coroutine
def in_steps(
    snapshot: contextvars.Context,
    coroutine: Coroutine[object, Any, R],
    first_step: Callable[[Any], object] | None = None,
) -> Generator[object, Any, R]:
    """Run a coroutine with every step of it in `snapshot`; `first_step` may have been taken before.

    The task stays that of whoever awaits it (cancellation, timeouts and `asyncio.current_task`
    are as ever); only the context variables are the snapshot's.
    """
    send: Callable[[Any], object] = coroutine.send
    step: Callable[[Any], object] = first_step or send
    value: object = None
    while True:
        try:
            awaited = snapshot.run(step, value)
        except StopIteration as finished:
            return finished.value  # type: ignore[no-any-return]  # the coroutine's own result
        except BaseException:
            # The error's traceback has this frame: led it back to the error, both would stay
            # until the garbage collector runs, and the message with them.
            awaited = value = None
            raise
        try:
            step, value = send, (yield awaited)
        except GeneratorExit:
            # Its `finally` blocks belong in its context, too.
            snapshot.run(coroutine.close)
            raise
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
            step, value = coroutine.throw, error


def first_step(
    enter: Callable[[T], object], what: T, function: Callable[..., Awaitable[object]], *args: Any
) -> "Begun | None":
    """Call `enter(what)`, then an async function; run what it returns until it waits.

    Return what `rest` takes, None if it has ended. Its result is dropped.
    """
    enter(what)
    awaitable: Any = function(*args)
    usual = type(awaitable) is CoroutineType
    coroutine: Any = awaitable if usual else _coroutine_of(awaitable)  # pyright: ignore[reportUnknownVariableType]  # of what it waits for, nobody knows
    # Not `send`, which makes an exception of the end.
    awaited = next(coroutine.__await__(), _ENDED)
    return None if awaited is _ENDED else (coroutine, awaited)


def rest(snapshot: contextvars.Context, begun: "Begun") -> Awaitable[object]:
    """Return what is left to await after the first step, which was taken in `snapshot`."""
    coroutine, awaited = begun
    return in_steps(snapshot, coroutine, _taken(awaited))


def _taken(awaited: object) -> Callable[[Any], object]:
    """Return a first step that was taken already, and waits for `awaited`."""
    return lambda _: awaited


Begun: TypeAlias = tuple[Coroutine[object, Any, object], object]
"""A coroutine, and what it waits for first."""
_ENDED: Final = object()


async def _coroutine_of(awaitable: Awaitable[object]) -> object:
    return await awaitable


Arguments: TypeAlias = tuple[Any, ...]
KeywordArguments: TypeAlias = dict[str, Any]
CallInside: TypeAlias = Callable[[Callable[..., Any], Arguments, KeywordArguments], Any]
"""Calls a function with these arguments, after it set context variables; they stay set."""


def decorate(function: Callable[P, R], inside: CallInside) -> Callable[P, R]:
    """Return `function` with each call `inside` something, in a snapshot of its own.

    A sync function stays sync, an `async def` stays one; name, docstring and signature stay.
    """
    refuse_generator_function(function)
    if is_async(function):
        return cast("Callable[P, R]", _decorate_async(cast("Any", function), inside))

    @functools.wraps(function)
    def decorated(*args: P.args, **kwargs: P.kwargs) -> R:
        snapshot = copy_context()
        result: R = snapshot.run(inside, function, args, kwargs)
        return result if result is None else returned(result, snapshot, function)

    return decorated


def _decorate_async(
    function: Callable[P, Coroutine[object, Any, R]], inside: CallInside
) -> Callable[P, Coroutine[object, Any, R]]:
    @functools.wraps(function)
    async def decorated(*args: P.args, **kwargs: P.kwargs) -> R:
        snapshot = copy_context()
        coroutine: Coroutine[object, Any, R] = snapshot.run(inside, function, args, kwargs)
        kind: object = type(coroutine)
        if kind is CoroutineType:  # as mostly, and without one more around it
            return await in_steps(snapshot, coroutine)
        return await returned(coroutine, snapshot, function)

    return decorated


def choose_at_call(
    function: Callable[P, R], choose: Callable[[], Callable[P, R]]
) -> Callable[P, R]:
    """Return a stand-in for `function`: each call goes to what `choose` returns at that moment.

    The choice must be of the same kind, sync or async. Name, docstring and signature stay.
    """
    if is_async(function):

        async def chosen_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            function: Any = choose()  # no `cast`, which would be a call
            return await function(*args, **kwargs)

        return cast("Callable[P, R]", functools.wraps(function)(chosen_async))

    @functools.wraps(function)
    def chosen(*args: P.args, **kwargs: P.kwargs) -> R:
        return choose()(*args, **kwargs)

    return chosen


_ASYNCIO = "asyncio.coroutines"


def is_async(function: Callable[..., object]) -> bool:
    """Tell whether calling `function` gives a coroutine.

    It does if it is an `async def`, a partial or an object of one, or bears the mark of
    `mark_async`, of `inspect` or of asyncio.
    """
    return _is_kind(function, inspect.iscoroutinefunction) or _is_kind(function, _has_asyncio_mark)


def _has_asyncio_mark(function: object) -> bool:
    mark = getattr(function, "_is_coroutine", None)
    # Without asyncio loaded, no function has its mark.
    return mark is not None and mark is getattr(sys.modules.get(_ASYNCIO), "_is_coroutine", None)


def _mark_for_asyncio(function: object) -> object:
    from asyncio import coroutines  # noqa: PLC0415 - large, and loaded where there are coroutines

    vars(function)["_is_coroutine"] = vars(coroutines)["_is_coroutine"]
    return function


mark_async: Callable[[Any], object] = getattr(inspect, "markcoroutinefunction", _mark_for_asyncio)
"""Marks a plain `def` that returns a coroutine as an `async def`.

Python 3.11 has only asyncio's mark, which Django and `unittest.mock` look for too.
"""


def is_generator_function(function: Callable[..., object]) -> bool:
    """Tell whether calling `function` only makes a generator, sync or async."""
    return _is_kind(function, inspect.isgeneratorfunction) or _is_kind(
        function, inspect.isasyncgenfunction
    )


def refuse_generator_function(function: Callable[..., object]) -> None:
    """Raise `HandlerError` if calling `function` only makes a generator.

    Its body would run wherever the generator is iterated, outside the context.
    """
    if is_generator_function(function):
        raise HandlerError(
            f"{function!r} is a generator function: its body would run where it is iterated, "
            "outside the context; iterate inside `with scope(...):` or `with restored(...):`, "
            "or give a function that iterates it"
        )


def _is_kind(function: Callable[..., object], test: Callable[[object], bool]) -> bool:
    if isinstance(function, functools.partial):
        return _is_kind(function.func, test)
    return test(function) or test(type(function).__call__)
