"""Properties of every format, for any values and any headers."""

import datetime as dt
import re
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mqctx import Context, JsonFormat, OversizeError, Propagator, Rejection, Scope, Variable
from mqctx._core.values import JSONValue
from mqctx.formats import Format
from mqctx.formats.baggage import BaggageFormat
from mqctx.formats.flat import CORRELATION_ID, FlatFormat
from mqctx.formats.signed import SignedFormat
from mqctx.formats.trace_context import TraceContextFormat

KEYS = {"k": "sixteen bytes or more"}
FORMATS: list[Format] = [
    JsonFormat(),
    BaggageFormat(),
    FlatFormat(),
    SignedFormat(JsonFormat("signed"), KEYS),
    SignedFormat(BaggageFormat(), KEYS),
]
HEADERS = ["mqctx", "baggage", "mqctx-a", "mqctx-b.c", "signed", "traceparent", "tracestate"]
each_format = pytest.mark.parametrize("layout", FORMATS, ids=repr)

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
awkward = st.sampled_from(
    ["json:", "json:5", ";mqctx=json", "5;mqctx=json", "%41", "+", " ", ",", "a=b;c", "\\", "\0"]
)
finite = st.floats(allow_nan=False, allow_infinity=False)
plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts | awkward,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
contexts = st.dictionaries(names, plain, max_size=6)
raw = st.text() | st.binary() | st.binary().map(bytearray) | texts.map(str.encode)
members = st.sampled_from(
    [
        "a=1",
        "b=%FF;p",
        "1=x",
        "c=5;mqctx=json",
        " ",
        "d",
        "a=2 ;q = r",
        "baggage.others=a%3D1",
        "\0",
    ]
)
anything = raw | st.none() | st.integers() | st.lists(texts) | st.lists(members).map(",".join)


def written(layout: Format, values: Mapping[str, JSONValue]) -> dict[str, str]:
    """Return the headers of one message."""
    try:
        encoded = layout.encode(values)
    except OversizeError:
        assume(False)
        raise
    return dict(encoded(100_000) if callable(encoded) else encoded)


def check_round_trip(layout: Format, values: dict[str, JSONValue]) -> None:
    rejected: list[Rejection] = []
    headers = written(layout, values)
    for name, text in headers.items():
        assert len(name) <= 128
        assert (name + text).isascii()
        assert (name + text).isprintable()
    # repr tells 1 from 1.0 and from True.
    decoded = layout.decode(headers, 1_000_000, rejected.append)
    assert repr(list(decoded.items())) == repr(list(values.items()))

    propagator = Propagator(formats=[layout], max_bytes=130_000, on_rejected=rejected.append)
    injected = Context(values).run(propagator.inject, headers | {"kept": 1})
    assert {key: type(text) for key, text in injected.items() if key != "kept"} == dict.fromkeys(
        headers, str
    )
    arrived = propagator.extract({k: t.encode() for k, t in injected.items() if k != "kept"})
    assert repr(dict(arrived)) == repr(values)
    with Scope(Context(), exact=True, headers=injected):
        assert propagator.inject(injected) == {"kept": 1}
    assert rejected == []


@each_format
def test_del_is_escaped_and_arrives(layout: Format) -> None:
    values: dict[str, JSONValue] = {"a": "x\x7f", "b": ["\x7f"], "c": {"\x7f": "\x7f"}}
    check_round_trip(layout, values)


@each_format
@settings(max_examples=50)
@given(values=contexts)
def test_what_is_written_is_short_ascii_and_arrives(
    layout: Format, values: dict[str, JSONValue]
) -> None:
    check_round_trip(layout, values)


@pytest.mark.full
@each_format
@settings(max_examples=1000, deadline=None)
@given(values=contexts)
def test_what_is_written_arrives_at_length(layout: Format, values: dict[str, JSONValue]) -> None:
    check_round_trip(layout, values)


typed = st.fixed_dictionaries(
    {},
    optional={
        "number": st.integers(),
        "fraction": finite,
        "flag": st.booleans(),
        "word": texts | awkward,
        "order": st.uuids(),
        "at": st.datetimes(timezones=st.just(dt.UTC)),
        "total": st.decimals(allow_nan=False, allow_infinity=False),
        "orders": st.lists(st.uuids(), max_size=3),
        "raw": st.binary(max_size=20),
    },
)
TYPES: dict[str, Any] = {
    "number": int,
    "fraction": float,
    "flag": bool,
    "word": str,
    "order": UUID,
    "at": dt.datetime,
    "total": Decimal,
    "orders": list[UUID],
    "raw": bytes,
}


@each_format
@settings(max_examples=50)
@given(values=typed)
def test_declared_types_arrive(layout: Format, values: dict[str, Any]) -> None:
    for name, kind in TYPES.items():
        Variable(name, kind)
    rejected: list[Rejection] = []
    propagator = Propagator(formats=[layout], max_bytes=130_000, on_rejected=rejected.append)
    arrived = propagator.extract(Context(values).run(propagator.inject))
    assert rejected == []
    assert arrived == values
    assert {name: type(value) for name, value in arrived.items()} == {
        name: type(value) for name, value in values.items()
    }


def check_hostile(headers: dict[str, object]) -> None:
    Variable("a", int)
    for layout in [*FORMATS, FlatFormat({"a": CORRELATION_ID, "b": "mqctx"}), TraceContextFormat()]:
        rejected: list[Rejection] = []
        propagator = Propagator(formats=[layout], on_rejected=rejected.append)
        extracted = propagator.extract(headers)
        assert all(str(rejection).isprintable() for rejection in rejected)
        assert "error" not in propagator.rejections
        arrived = propagator.extract(extracted.run(propagator.inject))
        if not isinstance(layout, TraceContextFormat):  # where each message is a span of its own
            again = propagator.extract(arrived.run(propagator.inject))
            assert repr(dict(again)) == repr(dict(arrived))
            kept = {k: v for k, v in extracted.items() if k != "baggage.others"}
            assert repr({k: v for k, v in arrived.items() if k != "baggage.others"}) == repr(kept)


hostile = st.dictionaries(st.sampled_from(HEADERS), anything, max_size=4)


@settings(max_examples=100)
@given(headers=hostile)
def test_whatever_stands_in_headers_is_restored_or_rejected(headers: dict[str, object]) -> None:
    check_hostile(headers)


@pytest.mark.full
@settings(max_examples=5000, deadline=None)
@given(headers=hostile)
def test_whatever_stands_in_headers_at_length(headers: dict[str, object]) -> None:
    check_hostile(headers)


KEY = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
OCTETS = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
OWS = r"[ \t]*"
PROPERTY = rf"{OWS};{OWS}{KEY}{OWS}(={OWS}{OCTETS}{OWS})?"
MEMBER = rf"{KEY}{OWS}={OWS}{OCTETS}({PROPERTY})*"
BAGGAGE = re.compile(rf"{MEMBER}({OWS},{OWS}{MEMBER})*")
"""The grammar of W3C Baggage 3.3.1, word for word."""


@settings(max_examples=100)
@given(header=st.lists(members, max_size=5).map(",".join) | st.text(), values=contexts)
def test_what_is_sent_as_baggage_is_w3c_baggage(header: str, values: dict[str, JSONValue]) -> None:
    propagator = Propagator(formats=[BaggageFormat()], max_bytes=130_000, on_rejected=repr)
    context = propagator.extract({"baggage": header}) | values
    written(BaggageFormat(), dict(context))
    sent = context.run(propagator.inject)
    assert all(BAGGAGE.fullmatch(text) for text in sent.values())


LOADED = """
import sys
import mqctx
propagator = mqctx.configure()
with mqctx.scope(user="ada", attempt=2):
    headers = propagator.inject({"kept": 1})
assert propagator.extract(headers) == {"user": "ada", "attempt": 2}
assert propagator.extract({"baggage": "user=eve", "mqctx-user": "eve", "mqctx": "x"}) == {}
print(*sorted(name for name in sys.modules if name.startswith("mqctx.formats")))
"""


def test_a_format_that_is_not_in_use_is_not_even_loaded() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == ["mqctx.formats", "mqctx.formats._format", "mqctx.formats.json"]
