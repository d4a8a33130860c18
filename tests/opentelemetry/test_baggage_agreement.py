"""mqctx and OpenTelemetry for Python read the same from each other's baggage."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.baggage import get_all, set_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context as TheirContext

from mqctx import Context, Propagator, Variable
from mqctx.formats.baggage import BaggageFormat

theirs = W3CBaggagePropagator()
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def strict_propagator() -> Propagator:
    """Return a propagator that fails where it would reject anything."""

    def fail(rejection: object) -> None:
        pytest.fail(str(rejection))

    return Propagator(formats=[BaggageFormat()], max_bytes=8192, on_rejected=fail)


def read_by_them(headers: dict[str, Any]) -> dict[str, object]:
    return dict(get_all(theirs.extract(headers, TheirContext())))


def written_by_them(values: dict[str, str]) -> dict[str, str]:
    context, headers = TheirContext(), dict[str, str]()
    for name, value in values.items():
        context = set_baggage(name, value, context)
    theirs.inject(headers, context)
    return headers


@settings(max_examples=100)
@given(st.dictionaries(names, texts, max_size=8))
def test_they_read_our_text(values: dict[str, str]) -> None:
    """They strip white space from a value after decoding it, too."""
    headers = Context(values).run(strict_propagator().inject)
    assert read_by_them(headers) == {name: value.strip() for name, value in values.items()}


@settings(max_examples=100)
@given(st.dictionaries(names, texts, max_size=8))
def test_we_read_their_text(values: dict[str, str]) -> None:
    """They write a space as a plus sign, which in W3C Baggage is a plus sign."""
    expected = {name: value.replace(" ", "+") for name, value in values.items()}
    assert strict_propagator().extract(written_by_them(values)) == expected


@settings(max_examples=100)
@given(
    st.dictionaries(
        names, texts.filter(lambda text: " " not in text and text == text.strip()), max_size=8
    )
)
def test_text_that_passes_through_them_arrives(values: dict[str, str]) -> None:
    passed = read_by_them(Context(values).run(strict_propagator().inject))
    assert (
        strict_propagator().extract(written_by_them({n: str(v) for n, v in passed.items()}))
        == values
    )


@settings(max_examples=100)
@given(
    st.dictionaries(
        names,
        st.none() | st.booleans() | st.integers() | st.lists(st.integers() | st.text("ab")),
        max_size=8,
    )
)
def test_types_survive_a_service_that_knows_only_them(values: dict[str, Any]) -> None:
    passed = read_by_them(Context(values).run(strict_propagator().inject))
    arrived = strict_propagator().extract(written_by_them({n: str(v) for n, v in passed.items()}))
    assert repr(dict(arrived)) == repr(values)


def test_what_they_wrote_fits_declared_numbers() -> None:
    for name, kind in (("attempt", int), ("ratio", float), ("dry_run", bool)):
        Variable(name, kind)
    headers = written_by_them({"attempt": "2", "ratio": "0.5", "dry_run": "true", "user": "2"})
    assert strict_propagator().extract(headers) == {
        "attempt": 2,
        "ratio": 0.5,
        "dry_run": True,
        "user": "2",
    }
