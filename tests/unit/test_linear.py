"""The time that foreign text takes grows with its length, and no faster."""

import time
from collections.abc import Callable

import pytest

from mqctx import Context, JsonFormat, Propagator
from mqctx.formats import BaggageFormat, FlatFormat, Format, SignedFormat, TraceContextFormat

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SHORT, LONG = 7_500, 120_000
MOST = 60
"""How much longer 16 times the text may take. With two nested loops it would be 256 times."""


def filled(before: str, part: str, after: str = "") -> Callable[[int], str]:
    """Return what makes a text of so many bytes."""
    return lambda size: before + part * ((size - len(before) - len(after)) // len(part)) + after


def baggage(text: str) -> tuple[Format, dict[str, str]]:
    return BaggageFormat(), {"baggage": text}


def json(text: str) -> tuple[Format, dict[str, str]]:
    return JsonFormat(), {"mqctx": text}


def flat(text: str) -> tuple[Format, dict[str, str]]:
    return FlatFormat(), {"mqctx-a": text}


def many_flat(text: str) -> tuple[Format, dict[str, str]]:
    return FlatFormat(), {f"mqctx-a{n}": "1" for n in range(len(text) // 16)}


def signed(text: str) -> tuple[Format, dict[str, str]]:
    return SignedFormat(JsonFormat(), {"k": "of sixteen bytes or more"}), {"mqctx": text}


def trace(text: str) -> tuple[Format, dict[str, str]]:
    return TraceContextFormat(), {"traceparent": text, "tracestate": text}


def state(text: str) -> tuple[Format, dict[str, str]]:
    return TraceContextFormat(), {"traceparent": PARENT, "tracestate": text}


WORST = {
    "baggage: white space before a value": (baggage, filled("a=", " ", '"')),
    "baggage: white space around a key": (baggage, filled("", "\t", "=")),
    "baggage: a key": (baggage, filled("", "a")),
    "baggage: a value": (baggage, filled("a=", "=", '"')),
    "baggage: properties of a member": (baggage, filled("a=1", ";p")),
    "baggage: properties": (baggage, filled("a=1", ";p = ", '"')),
    "baggage: members": (baggage, filled("", "a=1,")),
    "baggage: percent signs": (baggage, filled("a=", "%ff")),
    "baggage: JSON": (baggage, filled("a=", "[", ";mqctx=json")),
    "json: names": (json, lambda size: "{" + ",".join(f'"a{n}":1' for n in range(size // 9)) + "}"),
    "json: one name": (json, filled("{", '"a":1,', '"a":1}')),
    "json: open lists": (json, filled('{"a":', "[")),
    "json: digits": (json, filled('{"a":', "9", "}")),
    "json: digits of a fraction": (json, filled('{"a":0.', "9", "}")),
    "json: escapes": (json, filled('{"a":"', "\\u0000", '"}')),
    "json: a list": (json, filled('{"a":[', "1,", "1]}")),
    "json: members for baggage": (json, filled('{"baggage.others":"', "a=1;p,", '"}')),
    "flat: percent signs": (flat, filled("", "%")),
    "flat: JSON": (flat, filled("json:", "[")),
    "flat: headers": (many_flat, filled("", "a")),
    "signed: a key": (signed, filled("", "a")),
    "signed: a signature": (signed, filled("k.1.", "a")),
    "signed: text": (signed, filled(f"k.1.{'a' * 42}A:", ":")),
    "trace: dashes": (trace, filled(PARENT, "-")),
    "trace: zeros": (trace, filled("", "0")),
    "state: a key": (state, filled("", "a")),
    "state: white space": (state, filled("a=", " ")),
    "state: members": (state, filled("", "a=1,")),
    "state: our own member": (state, filled("mqctx=", "0")),
    "state: commas": (state, filled("", ",")),
}


def seconds(propagator: Propagator, headers: dict[str, str]) -> float:
    """Return how long it takes to read, and to write on, at best."""
    taken: list[float] = []
    for _ in range(5):
        start = time.thread_time()
        context = propagator.extract(headers)
        Context(context).run(propagator.inject, headers)
        taken.append(time.thread_time() - start)
    return min(taken)


@pytest.mark.parametrize("worst", WORST)
def test_sixteen_times_the_text_takes_at_most_sixty_times_as_long(worst: str) -> None:
    parser, make = WORST[worst]
    layout, short = parser(make(SHORT))
    _, long = parser(make(LONG))
    formats = [layout] if "for baggage" not in worst else [layout, BaggageFormat()]
    propagator = Propagator(formats=formats, max_bytes=130_000, on_rejected=lambda _: None)
    assert seconds(propagator, long) <= MOST * max(seconds(propagator, short), 20e-6)
