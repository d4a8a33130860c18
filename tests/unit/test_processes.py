"""The context in other processes: what `wrap` takes along, and what stays behind."""

import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mqctx import Context, Variable, bind, current, scope, wrap

SECONDS = 60.0
"""How long a process may take before it is a failure."""

METHODS = get_all_start_methods()


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process that starts anew find the functions of this module."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


def handle_item(item: int) -> tuple[int, Context]:
    bind(item=item)
    return item, current()


def send_context(connection: "Connection[Any, Any]") -> None:
    connection.send(dict(current()))  # a context leaves its local values behind
    connection.close()


def context_in_process(method: str, target: Callable[..., object]) -> dict[str, Any]:
    """Return what `target`, started as a process of its own, sends."""
    processes: Any = get_context(method)
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=target, args=(theirs,))
    process.start()
    theirs.close()
    try:
        assert ours.poll(SECONDS)
        received: dict[str, Any] = ours.recv()
        return received
    finally:
        process.join(SECONDS)


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_calls_a_wrapped_function_in_its_context_each_time_anew(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        for number in range(2):
            with scope(request_id=number):
                answers = list(pool.map(wrap(handle_item), range(3), timeout=SECONDS))
            expected = [Context(request_id=number, item=item) for item in range(3)]
            assert answers == list(enumerate(expected))


@pytest.mark.parametrize("method", METHODS)
def test_a_process_runs_a_wrapped_function_in_its_context(method: str) -> None:
    wrapped = Context(request_id="r-1").wrap(send_context)
    assert context_in_process(method, wrapped) == {"request_id": "r-1"}


def test_values_arrive_equal_in_value_and_type() -> None:
    Variable("order", type(uuid4()))
    Variable("due", datetime)
    values = {"order": uuid4(), "due": datetime(2030, 1, 2, tzinfo=UTC), "tags": ["a", {"b": None}]}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        arrived = pool.submit(Context(values).wrap(current)).result(SECONDS)
    assert arrived == values
    assert [type(value) for value in arrived.values()] == [type(v) for v in values.values()]


@pytest.mark.parametrize("method", METHODS)
def test_local_values_stay_behind_in_a_pool(method: str) -> None:
    Variable("handle", object, local=True)
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        wrapped = Context(handle=object(), user="ada").wrap(current)
        assert pool.submit(wrapped).result(SECONDS) == {"user": "ada"}


def test_a_pool_of_multiprocessing_takes_a_wrapped_function() -> None:
    with get_context("spawn").Pool(1) as pool:
        answers = pool.map(Context(request_id="r-1").wrap(handle_item), range(2))
    assert [context for _, context in answers] == [
        {"request_id": "r-1", "item": item} for item in range(2)
    ]


@pytest.mark.skipif("fork" not in METHODS, reason="this platform cannot fork")
class TestFork:
    def test_a_fork_takes_the_active_context_along_as_all_memory(self) -> None:
        with scope(request_id="r-1"):
            assert context_in_process("fork", send_context) == {"request_id": "r-1"}

    def test_a_fork_takes_the_local_values_of_a_wrapped_function_along_too(self) -> None:
        Variable("handle", object, local=True)
        wrapped = Context(handle="local", user="ada").wrap(send_context)
        assert context_in_process("fork", wrapped) == {"handle": "local", "user": "ada"}

    def test_a_fork_leaves_a_pool_in_the_context_of_its_first_request_unless_each_call_is_wrapped(
        self,
    ) -> None:
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            with scope(request_id="r-1"):
                pool.submit(int).result(SECONDS)
            with scope(request_id="r-2"):
                assert pool.submit(current).result(SECONDS) == {"request_id": "r-1"}
                assert pool.submit(wrap(current)).result(SECONDS) == {"request_id": "r-2"}
            assert pool.submit(wrap(current)).result(SECONDS) == {}


def test_what_cannot_be_pickled_fails_as_it_does_unwrapped() -> None:
    for function in (lambda: None, wrap(lambda: None)):
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            pickle.dumps(function)
