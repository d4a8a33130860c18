"""Call a function in a space: a copy of the context variables that nothing leaves again.

Here, and nowhere else in mqctx, sync and async part ways.
"""

import functools
import inspect
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context as Space
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

from mqctx.errors import HandlerError

P = ParamSpec("P")
R = TypeVar("R")


def call(space: Space | None, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` in `space`; what an `async def` returns runs there too, when awaited.

    Without a space, just call it.
    """
    if space is None:
        return function(*args, **kwargs)
    result = space.run(function, *args, **kwargs)
    return result if result is None else _returned(result, space, function)


def _returned(result: R, space: Space, function: Callable[..., R]) -> R:
    """Return what `function` returned in `space`; what has only begun there goes on there."""
    # The usual kind is known at sight; to ask the abstract class takes ten times as long.
    if type(result) is types.CoroutineType or isinstance(result, Coroutine):
        return cast("R", _awaited(space, cast("Coroutine[Any, Any, Any]", result)))
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        refuse_generator_function(function)
    return result


async def _awaited(space: Space, coroutine: Coroutine[Any, Any, R]) -> R:
    return await _in_steps(space, coroutine)


@types.coroutine
def _in_steps(space: Space, coroutine: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
    """Run a coroutine with every step of it in `space`, in whichever task awaits it.

    The task stays the caller's (cancellation, timeouts and `asyncio.current_task` are as
    ever); only the context variables are the space's.
    """
    step: Callable[[Any], Any] = coroutine.send
    value: Any = None
    while True:
        try:
            awaited = space.run(step, value)
        except StopIteration as finished:
            return finished.value  # type: ignore[no-any-return]  # the coroutine's own result
        try:
            value = yield awaited
            step = coroutine.send
        except GeneratorExit:
            space.run(coroutine.close)
            raise
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
            step, value = coroutine.throw, error


Arguments: TypeAlias = tuple[Any, ...]
KeywordArguments: TypeAlias = dict[str, Any]
SpaceFor: TypeAlias = Callable[[Arguments, KeywordArguments], Space | None]


def decorate(function: Callable[P, R], space_for: SpaceFor) -> Callable[P, R]:
    """Return `function` with each call in the space that `space_for` makes of its arguments.

    Where it makes none, the call goes on as it is. A sync function stays sync, an `async def`
    stays one; name, docstring and signature stay.
    """
    refuse_generator_function(function)
    if is_async(function):
        return cast("Callable[P, R]", _decorate_async(cast("Any", function), space_for))

    to_call: tuple[Any, ...] = (function,)

    @functools.wraps(function)
    def decorated(*args: P.args, **kwargs: P.kwargs) -> R:
        # What `call` does, without a further call, without the keywords that few calls have, and
        # without the list that `run(function, *args)` would make first.
        space: Any = space_for(args, kwargs)
        if space is None:
            return function(*args, **kwargs)
        called = to_call + args
        result: R = space.run(*called, **kwargs) if kwargs else space.run(*called)
        return result if result is None else _returned(result, space, function)

    return decorated


def _decorate_async(
    function: Callable[P, Coroutine[Any, Any, R]], space_for: SpaceFor
) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(function)
    async def decorated(*args: P.args, **kwargs: P.kwargs) -> R:
        space = space_for(args, kwargs)
        if space is None:
            return await function(*args, **kwargs)
        return await _in_steps(space, space.run(function, *args, **kwargs))

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
