"""Call a function in a space: a copy of the context variables that nothing leaves again.

Here, and nowhere else in mqctx, sync and async part ways.
"""

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context as Space
from typing import Any, ParamSpec, TypeVar, cast

from mqctx.errors import HandlerError

P = ParamSpec("P")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)


class SpacedCoroutine(Coroutine[Any, Any, T_co]):
    """A coroutine whose every step runs in a space, in whichever task awaits it.

    The task stays the caller's (cancellation, timeouts and `asyncio.current_task` are as
    ever); only the context variables are the space's.
    """

    __slots__ = ("_coroutine", "_run")

    def __init__(self, space: Space, coroutine: Coroutine[Any, Any, T_co]) -> None:
        self._run = space.run
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        """Take the next step, in the space."""
        return self._run(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """Raise `error` where the coroutine waits, in the space."""
        return self._run(self._coroutine.throw, *error)

    def close(self) -> None:
        """End the coroutine, in the space."""
        self._run(self._coroutine.close)

    def __await__(self) -> Generator[Any, Any, T_co]:
        # The interpreter's `await` asks an iterator for send, throw and close: all are here.
        return cast("Generator[Any, Any, T_co]", self)

    def __next__(self) -> Any:
        return self._run(self._coroutine.send, None)


def call(space: Space | None, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` in `space`; what an `async def` returns runs there too, when awaited.

    Without a space, just call it.
    """
    if space is None:
        return function(*args, **kwargs)
    result = space.run(function, *args, **kwargs)
    if result is None:
        return result
    if isinstance(result, Coroutine):
        return cast("R", SpacedCoroutine(space, cast("Coroutine[Any, Any, Any]", result)))
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        refuse_generator_function(function)
    return result


def decorate(function: Callable[P, R], space_for: Callable[P, Space | None]) -> Callable[P, R]:
    """Return `function` with each call in the space that `space_for` makes of its arguments.

    A sync function stays sync, an `async def` stays one; name, docstring and signature stay.
    """
    refuse_generator_function(function)
    if is_async(function):
        return cast(
            "Callable[P, R]", _decorate_async(cast("Any", function), cast("Any", space_for))
        )

    @functools.wraps(function)
    def decorated(*args: P.args, **kwargs: P.kwargs) -> R:
        return call(space_for(*args, **kwargs), function, *args, **kwargs)

    return decorated


def _decorate_async(
    function: Callable[P, Coroutine[Any, Any, R]], space_for: Callable[P, Space | None]
) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(function)
    async def decorated(*args: P.args, **kwargs: P.kwargs) -> R:
        return await call(space_for(*args, **kwargs), function, *args, **kwargs)

    return decorated


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a coroutine: an `async def`, a partial or object of one."""
    return _is_kind(function, inspect.iscoroutinefunction)


def is_generator_function(function: Callable[..., Any]) -> bool:
    """Whether calling `function` only makes a generator, sync or async."""
    return _is_kind(function, inspect.isgeneratorfunction) or _is_kind(
        function, inspect.isasyncgenfunction
    )


def refuse_generator_function(function: Callable[..., Any]) -> None:
    """Raise `HandlerError` if calling `function` only makes a generator.

    Its body would run wherever the generator is iterated, outside the context.
    """
    if is_generator_function(function):
        raise HandlerError(
            f"{function!r} is a generator function: its body would run where it is iterated, "
            "outside the context; iterate inside `with scope(...):` or `with restored(...):`, "
            "or give a function that iterates it"
        )


def _is_kind(function: Callable[..., Any], test: Callable[[object], bool]) -> bool:
    if isinstance(function, functools.partial):
        return _is_kind(function.func, test)
    return test(function) or test(type(function).__call__)
