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


def repeated(before: str, part: str, after: str = "") -> Callable[[int], str]:
    """Return what makes a text of so many bytes."""
    return lambda size: before + part * ((size - len(before) - len(after)) // len(part)) + after


def baggage(text: str) -> tuple[Format, dict[str, str]]:
    return BaggageFormat(), {"baggage": text}


def json(text: str) -> tuple[Format, dict[str, str]]:
    return JsonFormat(), {"mqctx": text}


def flat_header(text: str) -> tuple[Format, dict[str, str]]:
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
    "baggage: white space before a value": (baggage, repeated("a=", " ", '"')),
    "baggage: white space around a key": (baggage, repeated("", "\t", "=")),
    "baggage: a key": (baggage, repeated("", "a")),
    "baggage: a value": (baggage, repeated("a=", "=", '"')),
    "baggage: properties of a member": (baggage, repeated("a=1", ";p")),
    "baggage: properties": (baggage, repeated("a=1", ";p = ", '"')),
    "baggage: members": (baggage, repeated("", "a=1,")),
    "baggage: percent signs": (baggage, repeated("a=", "%ff")),
    "baggage: JSON": (baggage, repeated("a=", "[", ";mqctx=json")),
    "json: names": (json, lambda size: "{" + ",".join(f'"a{n}":1' for n in range(size // 9)) + "}"),
    "json: one name": (json, repeated("{", '"a":1,', '"a":1}')),
    "json: open lists": (json, repeated('{"a":', "[")),
    "json: digits": (json, repeated('{"a":', "9", "}")),
    "json: digits of a fraction": (json, repeated('{"a":0.', "9", "}")),
    "json: escapes": (json, repeated('{"a":"', "\\u0000", '"}')),
    "json: a list": (json, repeated('{"a":[', "1,", "1]}")),
    "json: members for baggage": (json, repeated('{"baggage.others":"', "a=1;p,", '"}')),
    "flat: percent signs": (flat_header, repeated("", "%")),
    "flat: JSON": (flat_header, repeated("json:", "[")),
    "flat: headers": (many_flat, repeated("", "a")),
    "signed: a key": (signed, repeated("", "a")),
    "signed: a signature": (signed, repeated("k.1.", "a")),
    "signed: text": (signed, repeated(f"k.1.{'a' * 42}A:", ":")),
    "trace: dashes": (trace, repeated(PARENT, "-")),
    "trace: zeros": (trace, repeated("", "0")),
    "state: a key": (state, repeated("", "a")),
    "state: white space": (state, repeated("a=", " ")),
    "state: members": (state, repeated("", "a=1,")),
    "state: our own member": (state, repeated("mqctx=", "0")),
    "state: commas": (state, repeated("", ",")),
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
