"""One budget for all headers of a context: what raises, what gives way, what counts."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, use_span

from mqctx import JsonFormat, OversizeError, Propagator, Rejection, scope
from mqctx.formats import (
    CORRELATION_ID,
    BaggageFormat,
    FlatFormat,
    Format,
    TraceContextFormat,
    header_size,
)

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def size_of(headers: Mapping[str, Any]) -> int:
    return sum(header_size(*each) for each in headers.items())


@pytest.mark.parametrize(
    ("layout", "headers"),
    [
        (JsonFormat(), {"mqctx": '{"user":"' + "\u00e9" * 1500 + '","a":1}'}),
        (BaggageFormat(), {"baggage": "user=" + "%ff" * 1000 + ",a=1"}),
        (FlatFormat(), {"mqctx-user": "%" * 2000, "mqctx-a": "1"}),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("trim", [False, True])
def test_what_a_message_brought_gives_way_and_is_reported(
    layout: Format, headers: dict[str, str], trim: bool, rejected: list[Rejection]
) -> None:
    propagator = Propagator(formats=[layout], on_rejected=rejected.append)
    with propagator.extract(headers).scope(), scope(tenant="acme"):
        onward = propagator.extract(propagator.inject(trim=trim))
    assert set(onward) == {"a", "tenant"}
    assert [(each.during, each.key, each.reason) for each in rejected] == [
        ("inject", "user", "too-large")
    ]


def test_only_what_was_set_here_raises(rejected: list[Rejection]) -> None:
    propagator = Propagator(max_bytes=100, on_rejected=rejected.append)
    brought = propagator.extract({"mqctx": '{"a":"' + "x" * 60 + '"}'})
    with brought.scope(), scope(b="y" * 60):
        assert set(propagator.extract(propagator.inject())) == {"b"}
    with brought.scope(), scope(b="y" * 100), pytest.raises(OversizeError, match="'b'"):
        propagator.inject()
    assert [each.key for each in rejected] == ["a"]


def test_brought_members_give_way_where_a_format_has_no_room(rejected: list[Rejection]) -> None:
    propagator = Propagator(formats=[BaggageFormat()], on_rejected=rejected.append)
    brought = propagator.extract({"baggage": ",".join(f"m{n}=1" for n in range(64))})
    with brought.scope(), scope(ours="a value that is longer than any of theirs"):
        onward = propagator.extract(propagator.inject())
    assert len(onward) == 64
    assert "ours" in onward
    assert [each.reason for each in rejected] == ["too-large"]


def test_a_brought_value_gives_way_where_its_property_has_no_room(
    rejected: list[Rejection],
) -> None:
    layout = FlatFormat({"request_id": CORRELATION_ID, "user": "User"})
    propagator = Propagator(formats=[layout], on_rejected=rejected.append)
    brought = propagator.extract({CORRELATION_ID: "\u00e9" * 100, "User": "ada"})
    assert brought.run(propagator.inject) == {"User": "ada"}
    assert [each.key for each in rejected] == ["request_id"]


def test_trimming_ends_without_any_header_where_none_fits(rejected: list[Rejection]) -> None:
    propagator = Propagator(
        formats=[TraceContextFormat()], max_bytes=50, on_rejected=rejected.append
    )
    with scope(a=1):
        assert propagator.inject({"kept": 1}, trim=True) == {"kept": 1}
    assert "not even without values" in rejected[-1].detail


@pytest.mark.parametrize("as_type", [str, str.encode, lambda text: bytearray(text.encode())])
def test_bytes_count_on_the_way_in_as_on_the_way_out(
    as_type: Any, rejected: list[Rejection]
) -> None:
    text = '{"a":"' + "\U0001f600" * 20 + '"}'
    size = header_size("mqctx", text)
    assert size == len("mqctx") + len(text.encode()) + 6
    both: list[list[Format]] = [[JsonFormat()], [JsonFormat(), FlatFormat()]]
    for formats in both:
        fits = Propagator(formats=formats, max_bytes=size, on_rejected=rejected.append)
        assert fits.extract({"mqctx": as_type(text)})
        assert rejected == []
        small = Propagator(formats=formats, max_bytes=size - 1, on_rejected=rejected.append)
        assert small.extract({"mqctx": as_type(text)}) == {}
        assert [each.reason for each in rejected] == ["too-large"]
        rejected.clear()


def test_all_formats_together_count_on_the_way_in(rejected: list[Rejection]) -> None:
    formats: list[Format] = [JsonFormat(), FlatFormat(), BaggageFormat()]
    propagator = Propagator(formats=formats, max_bytes=200, on_rejected=rejected.append)
    headers = {
        "mqctx": '{"a":"' + "x" * 60 + '"}',
        "mqctx-b": "y" * 60,
        "mqctx-c": 5,
        "baggage": "d=" + "z" * 60,
    }
    assert set(propagator.extract(headers)) == {"a", "b"}
    assert [(each.header, each.reason) for each in rejected] == [
        ("mqctx-*", "wrong-type"),
        ("baggage", "too-large"),
    ]


def in_span_with_a_long_state() -> AbstractContextManager[Any]:
    state = TraceState([(f"v{n}", "x" * 250) for n in range(32)])
    return use_span(NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(1), state)))


@pytest.mark.parametrize("on_oversize", ["raise", "drop"])
@pytest.mark.parametrize("before", [False, True], ids=["", "encoded before the span"])
def test_a_long_tracestate_of_opentelemetry_pushes_no_value_out(
    on_oversize: Any, before: bool, rejected: list[Rejection]
) -> None:
    propagator = Propagator(
        formats=[JsonFormat(), TraceContextFormat()],
        on_oversize=on_oversize,
        on_rejected=rejected.append,
    )
    with scope(tenant="acme", more="x" * 3000):
        if before:
            propagator.inject()
        with in_span_with_a_long_state():
            sent = propagator.inject()
    assert sent["mqctx"].startswith('{"tenant":"acme",')
    assert sent["tracestate"].startswith("v0=x")
    assert size_of(sent) <= propagator.max_bytes
    assert rejected == []


def test_a_long_tracestate_that_a_message_brought_pushes_no_value_out() -> None:
    propagator = Propagator(formats=[JsonFormat(), TraceContextFormat()], max_bytes=400)
    state = ",".join(f"v{n}={'x' * 20}" for n in range(10))
    brought = Propagator(formats=[TraceContextFormat()]).extract(
        {"traceparent": PARENT, "tracestate": state}
    )
    with brought.scope(), scope(tenant="x" * 200):
        sent = propagator.inject()
    assert size_of(sent) <= 400
    assert len(sent["mqctx"]) > 200
    assert sent["tracestate"].startswith("mqctx=")


def test_a_state_for_which_there_is_no_room_at_all_stays() -> None:
    propagator = Propagator(formats=[JsonFormat(), TraceContextFormat()], max_bytes=300)
    with scope(tenant="x" * 195), in_span_with_a_long_state():
        assert propagator.inject().keys() == {"mqctx", "traceparent"}
