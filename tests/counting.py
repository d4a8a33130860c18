"""The cost of a call, counted without a clock: function calls, and blocks of memory."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """Function calls, and blocks of memory."""

    calls: int
    blocks: int


_held: list[int] = []


def take_over(*_: object, **__: object) -> None:
    """Stand where the client sends the message, or where the handler works on it."""
    _held.append(sys.getallocatedblocks())


async def take_over_async(*_: object, **__: object) -> None:
    take_over()


def added_cost(raw: Call, ours: Call) -> Cost:
    """Return what ours costs beyond raw, once caches are warm."""
    calls = calls_in(ours) - calls_in(raw)
    return Cost(calls, blocks_in(ours) - blocks_in(raw))


def calls_in(call: Call) -> int:
    counted = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    run_to_its_end(call)
    sys.setprofile(count)
    try:
        run_to_its_end(call)
    finally:
        sys.setprofile(None)
    return counted


def blocks_in(call: Call) -> int:
    held: list[int] = []
    for _ in range(8):  # the first ones fill free lists, and what the interpreter specializes
        _held.clear()
        before = sys.getallocatedblocks()
        run_to_its_end(call)
        held.append(_held[0] - before)
    return min(held[2:])


def run_to_its_end(call: Call) -> None:
    """Call it; what it returns, if it is a coroutine, waits for nothing."""
    result = call()
    if inspect.iscoroutine(result):
        with pytest.raises(StopIteration):
            result.send(None)


def assert_within(cost: Cost, bound: Cost) -> None:
    assert cost.calls <= bound.calls, f"{cost} is more than {bound}"
    assert cost.blocks <= bound.blocks, f"{cost} is more than {bound}"
