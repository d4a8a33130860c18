"""The check of a flow's record notices each thing that must not be."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.drivers.flow import Flow, Record
from tests.drivers.handling import context_of

from .running import check


def record() -> Record:
    """Return the record of two messages, through a fault that struck both sides."""
    return Record(
        given=2,
        confirmed={0, 1},
        handled=Counter({0: 1, 1: 2}),
        interrupted=Counter({"publisher": 1, "consumer": 1}),
    )


def test_a_good_record_passes() -> None:
    """A message that was handled twice is no fault."""
    check(record(), messages=2, interrupted=1)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda r: r.handled.pop(1), "never handled: {1}"),
        (lambda r: r.confirmed.discard(1), "not all were confirmed"),
        (lambda r: r.interrupted.pop("consumer"), "consumer: "),
        (lambda r: r.interrupted.pop("publisher"), "publisher: "),
    ],
)
def test_what_must_not_be_is_told(spoil: Callable[[Record], object], told: str) -> None:
    spoilt = record()
    spoil(spoilt)
    with pytest.raises(AssertionError, match=told):
        check(spoilt, messages=2, interrupted=1)


def test_too_few_messages_are_told() -> None:
    with pytest.raises(AssertionError, match="only 2 messages"):
        check(record(), messages=3)


@pytest.mark.parametrize("other", [0, 2], ids=["none", "another"])
def test_a_handler_in_another_context_is_told(other: int) -> None:
    flow = Flow("", "")
    with context_of(other).scope(), flow.handling("1"):
        pass
    assert flow.record.handled == {1: 1}
    with pytest.raises(AssertionError, match="2 with another context"):
        check(flow.record, messages=0)


def test_a_context_that_is_lost_within_a_handler_is_told() -> None:
    flow = Flow("", "")
    with context_of(1).scope():
        handling = flow.handling("1")
        handling.__enter__()
        with context_of(2).scope():
            handling.__exit__(None, None, None)
    with pytest.raises(AssertionError, match="1 with another context"):
        check(flow.record, messages=0)
