"""A million random and mutated headers: none raises, hangs, leaks, or brings what it says not."""

import faulthandler
import gc
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from mqctx import Propagator
from tests.fuzz.hostile import WRONG_TYPES, Hostile
from tests.fuzz.layouts import ORACLES, LayoutOracle
from tests.fuzz.oracle import Oracle

BATCHES = 20
SECONDS = 3600
"""After which a test counts as hanging; the longest takes a few minutes."""


@pytest.fixture(autouse=True)
def _no_hang(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Show where a test hangs, and end the process."""
    with capfd.disabled():
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        yield
        faulthandler.cancel_dump_traceback_later()


def check_batches(batches: int, size: int) -> tuple[Oracle, list[int]]:
    """Check many values; return what became of them, and the memory blocks after each batch."""
    oracle, blocks, hostile = Oracle(), list[int](), iter(Hostile(seed=2026))
    for _ in range(batches):
        for raw in itertools.islice(hostile, size):
            try:
                oracle.check(raw)
            except Exception as error:
                raise AssertionError(f"{raw!r}: {type(error).__name__}: {error}") from error
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    return oracle, blocks


def check_outcomes(oracle: Oracle, count: int) -> None:
    """Each outcome is frequent: neither the values nor the propagator are trivial."""
    assert oracle.whole + oracle.partial + oracle.empty == count
    assert min(oracle.whole, oracle.partial, oracle.empty) > count // 50


def test_a_sample_of_headers() -> None:
    oracle, _ = check_batches(1, 8_000)
    check_outcomes(oracle, 8_000)


@pytest.mark.full
def test_a_million_headers_in_bounded_memory() -> None:
    oracle, blocks = check_batches(BATCHES, 50_000)
    check_outcomes(oracle, 1_000_000)
    # Less than a block for every hundred values, from the first batch to the last.
    assert blocks[-1] - blocks[0] < 50_000 * (BATCHES - 1) // 100


def check_layout(oracle: LayoutOracle, hostile: Hostile, count: int) -> None:
    """Check many values of a format, each outcome frequent."""
    for raw in itertools.islice(iter(hostile), count):
        try:
            oracle.check(raw)
        except Exception as error:
            raise AssertionError(f"{raw!r}: {type(error).__name__}: {error}") from error
    assert oracle.whole + oracle.partial + oracle.empty == count
    assert min(oracle.whole, oracle.empty) > count // 50


@pytest.mark.parametrize("name", ORACLES)
def test_a_sample_of_headers_of_each_format(name: str) -> None:
    oracle = ORACLES[name]()
    check_layout(oracle, Hostile(2026, oracle.layout), 2_000)


@pytest.mark.full
@pytest.mark.parametrize("name", ORACLES)
def test_100_000_headers_of_each_format(name: str) -> None:
    oracle = ORACLES[name]()
    check_layout(oracle, Hostile(2026, oracle.layout), 100_000)


@pytest.mark.parametrize(
    "headers", [kind for kind in WRONG_TYPES if kind], ids=lambda kind: type(kind).__name__
)
def test_whatever_stands_in_place_of_the_headers(headers: Any) -> None:
    rejected: list[object] = []
    propagator = Propagator(on_rejected=rejected.append)
    assert propagator.extract(headers) == {}
    assert len(rejected) == (not isinstance(headers, dict))
