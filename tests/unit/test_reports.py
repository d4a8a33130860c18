"""How a rejection is told: one safe line, and never one about itself."""

import asyncio
import pickle
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import ClassVar

import pytest

from mqctx import Propagator, Rejection, wrap
from mqctx._core.values import describe, printable
from mqctx.formats.baggage import BaggageFormat

HOSTILE = "bad key\n2030-01-01 INFO root logged in\x1b[2J\u202e"


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("metrics are down"), "RuntimeError: metrics are down ("),
        (RuntimeError(HOSTILE), r"RuntimeError: bad key\n2030-01-01 INFO root logged in\x1b[2J"),
        (RuntimeError("x" * 9999), "RuntimeError: " + "x" * 486 + "... ("),
        (UnreadableError(), "UnreadableError: its text cannot be had ("),
    ],
)
def test_a_hook_that_fails_is_logged_in_one_line_whatever_was_sent_and_raised(
    error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Rejection) -> None:
        raise error

    propagator = Propagator(formats=[BaggageFormat()], on_rejected=broken)
    assert propagator.extract({"baggage": HOSTILE + "=1,user=ada"}) == {"user": "ada"}
    (record,) = caplog.records
    assert record.exc_info is None  # a traceback would show what was sent as it came
    assert said in record.getMessage()
    assert f"{__file__}:" in record.getMessage()
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 2500


def test_a_rejection_of_anybodys_format_is_one_bounded_line_as_text() -> None:
    shown = str(Rejection("extract", HOSTILE, HOSTILE, "error", "\n" * 9999))
    assert shown.isprintable()
    assert len(shown) < 5000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("Zo\u00eb", "Zo\\xeb"),
        ("a\nb", "a\\nb"),
        ("C:\\files", "C:\\files"),  # as long as may be
        ("x" * 9, "x" * 8 + "..."),
    ],
)
def test_what_stands_in_a_log_line_is_printable_ascii_of_bounded_length(
    text: str, shown: str
) -> None:
    assert printable(text, 8) == shown


def test_an_error_that_nobody_raised_has_no_place() -> None:
    assert describe(ValueError("made")) == "ValueError: made"


def test_a_report_that_causes_another_is_told_alone_and_both_are_counted() -> None:
    told: list[Rejection] = []

    def on_rejected(rejection: Rejection) -> None:
        told.append(rejection)
        propagator.extract({"mqctx": 5})

    propagator = Propagator(on_rejected=on_rejected)
    for _ in range(2):
        propagator.extract({"mqctx": "nonsense"})
    assert [rejection.reason for rejection in told] == ["malformed", "malformed"]
    assert propagator.rejections == {"malformed": 2, "wrong-type": 2}


HAND_OVERS: dict[str, Callable[[Callable[[], object]], object]] = {
    "thread": lambda call: in_thread(partial(wrap(called), by_name=call)),
    "process": lambda call: in_thread(pickle.loads(pickle.dumps(wrap(call)))),  # noqa: S301 - ours
    "copied context variables": lambda call: in_thread(partial(copy_context().run, call)),
    "task": lambda call: in_thread(partial(asyncio.run, wrap(later)(call))),
}


def called(*, by_name: Callable[[], object]) -> object:
    return by_name()


def in_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


async def later(call: Callable[[], object]) -> None:
    await asyncio.sleep(0)
    call()


class HandsOver:
    """An `on_rejected` that causes another rejection, in work that it hands over."""

    told: ClassVar[list[Rejection]] = []

    def __init__(self, way: str) -> None:
        self.way = way

    def __call__(self, rejection: Rejection) -> None:
        self.told.append(rejection)
        if len(self.told) < 5:
            HAND_OVERS[self.way](self.cause)

    def cause(self) -> None:
        Propagator(on_rejected=self).extract({"mqctx": 5})


@pytest.mark.parametrize("way", HAND_OVERS)
def test_a_report_that_causes_another_in_work_that_it_hands_over_is_told_alone(way: str) -> None:
    HandsOver.told.clear()
    for _ in range(2):
        HandsOver(way).cause()
    assert len(HandsOver.told) == 2


def test_a_report_does_not_silence_those_of_another_thread() -> None:
    told: list[Rejection] = []

    def on_rejected(rejection: Rejection) -> None:
        told.append(rejection)
        if rejection.reason == "malformed":
            other = threading.Thread(target=propagator.extract, args=({"mqctx": 5},))
            other.start()
            other.join()

    propagator = Propagator(on_rejected=on_rejected)
    propagator.extract({"mqctx": "nonsense"})
    assert [rejection.reason for rejection in told] == ["malformed", "wrong-type"]
