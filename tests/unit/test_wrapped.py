"""A callable from `wrap` passes for what it wraps, to all that ask before they call or await."""

import asyncio
import functools
import inspect
import types
import unittest.mock
from collections.abc import Callable
from typing import Any

import pytest

from mqctx import Context, current, scope, wrap

pytestmark = pytest.mark.filterwarnings(
    "ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning"  # from 3.14 on
)

# Django's asgiref asks asyncio on Python 3.11, and inspect from 3.12 on.
ASKED: dict[str, Callable[[Any], bool]] = {
    "inspect": inspect.iscoroutinefunction,
    "asyncio": asyncio.iscoroutinefunction,
    "mock": lambda function: isinstance(mock_of(function), unittest.mock.AsyncMock),
    "autospec": lambda function: isinstance(
        mock_of(function, autospec=True), unittest.mock.AsyncMock
    ),
}


def mock_of(function: Any, **options: Any) -> Any:
    """Return what stands in for a function while it is patched."""
    module = types.SimpleNamespace(function=function)
    with unittest.mock.patch.object(module, "function", **options) as mock:
        return mock


async def later(first: object = None) -> Context:
    """Return the context, later."""
    return current()


def now(first: object = None) -> Context:
    return current()


class LaterWorker:
    async def later(self, first: object = None) -> Context:
        return current()

    async def __call__(self, first: object = None) -> Context:
        return current()


def marked() -> Any:
    """Return a plain function that is marked to return a coroutine, as compiled ones are."""

    def returns_a_coroutine(first: object = None) -> Any:
        return later(first)

    mark: Any = getattr(inspect, "markcoroutinefunction", mark_for_asyncio)
    return mark(returns_a_coroutine)


def mark_for_asyncio(function: Any) -> Any:
    function._is_coroutine = vars(asyncio.coroutines)["_is_coroutine"]
    return function


ASYNC: dict[str, Any] = {
    "function": later,
    "method": LaterWorker().later,
    "partial": functools.partial(later, None),
    "object": LaterWorker(),
    "mock": unittest.mock.AsyncMock(side_effect=later),
    "marked function": marked(),
    "wrapped": Context(user="eve").wrap(later),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("function", ASYNC)
def test_what_is_async_is_known_as_such(function: str, asked: str) -> None:
    assert ASKED[asked](wrap(ASYNC[function]))


@pytest.mark.parametrize("asked", ["inspect", "asyncio", "mock"])
def test_a_partial_of_what_is_async_is_known_as_such(asked: str) -> None:
    assert ASKED[asked](functools.partial(wrap(later), None))


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("function", [now, functools.partial(now), [].append, dict])
def test_what_is_sync_is_not_known_as_async(function: Any, asked: str) -> None:
    assert not ASKED[asked](wrap(function))


@pytest.mark.parametrize("function", [name for name in ASYNC if name != "wrapped"])
def test_what_is_async_runs_in_its_context_when_awaited(function: str) -> None:
    with scope(user="ada"):
        wrapped = wrap(ASYNC[function])
    assert asyncio.run(wrapped()) == {"user": "ada"}


@pytest.mark.parametrize("function", ASYNC)
def test_a_decorating_scope_makes_an_async_def_of_what_is_async(function: str) -> None:
    decorated = scope(user="ada")(ASYNC[function])
    assert inspect.iscoroutinefunction(decorated)
    assert asyncio.run(decorated())["user"] == ("eve" if function == "wrapped" else "ada")


def test_a_marked_function_may_return_any_awaitable() -> None:
    mark: Any = getattr(inspect, "markcoroutinefunction", mark_for_asyncio)

    @mark
    def returns_a_task() -> asyncio.Task[Context]:
        return asyncio.get_running_loop().create_task(later())

    assert asyncio.run(scope(user="ada")(returns_a_task)()) == {"user": "ada"}


def test_the_signature_is_that_of_the_function_or_any_but_nothing_else() -> None:
    """As schedulers ask for it: one that names `self` would be refused."""
    wrapped = wrap(later)
    assert inspect.signature(wrapped) == inspect.signature(later)
    assert str(inspect.signature(wrapped, follow_wrapped=False)).startswith("(*args")
