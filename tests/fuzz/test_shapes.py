"""Headers as hypothesis makes them, and the shapes that take the most memory and the most depth."""

import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mqctx import Context, Propagator
from tests.fuzz.hostile import DECLARED_TEXTS, ILLEGAL_NAMES, NAMES
from tests.fuzz.oracle import Oracle

MAX_BYTES = 130_000

surrogates = st.text(st.characters(categories=["Cs", "Lu", "Cc", "Nd", "So"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | surrogates
plain = st.recursive(
    scalars | st.integers(-(10**400), 10**400),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | surrogates, inner),
)
names = st.sampled_from([*NAMES, *ILLEGAL_NAMES, *DECLARED_TEXTS]) | st.text()
bad_or_good = st.sampled_from([text for texts in DECLARED_TEXTS.values() for text in texts])
objects = st.dictionaries(names, plain | bad_or_good)


def written_as(value: object, ascii_only: bool, kind: str) -> object:
    """Write a value as JSON, in one of the types that a header may have."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    if kind == "str":
        return text
    raw = text.encode(kind, errors="surrogatepass")
    return bytearray(raw) if ascii_only else raw


headers = st.builds(
    written_as, objects, st.booleans(), st.sampled_from(["str", "utf-8", "utf-16", "utf-32"])
)
anything = headers | plain | st.binary() | st.binary().map(bytearray)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(anything)
def test_a_sample_of_what_hypothesis_makes(raw: object) -> None:
    Oracle().check(raw)


@pytest.mark.full
@settings(
    max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(anything)
def test_what_hypothesis_makes(raw: object) -> None:
    Oracle().check(raw)


def repeated(part: str, size: int) -> str:
    """Return a header of about `size` bytes whose list holds the part as often as fits."""
    return '{"a":[' + ",".join([part] * (size // (len(part) + 1) - 9)) + "]}"


def extracted_with_memory(propagator: Propagator, raw: str) -> tuple[Context, int]:
    """Extract a header; return the context, and how much memory was in use at the most."""
    tracemalloc.start()
    try:
        context = propagator.extract({"mqctx": raw})
        return context, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


GREEDY: list[str] = ["[]", "{}", '{"":1}', '{"":[]}', "0.1", "1e9", "99999", '"\\u00e9"', "[[[]]]"]


@pytest.mark.parametrize("size", [4096, 32_768, pytest.param(MAX_BYTES, marks=pytest.mark.full)])
@pytest.mark.parametrize("part", GREEDY)
def test_takes_memory_in_proportion_to_the_header_only(part: str, size: int) -> None:
    raw, propagator = repeated(part, size), Propagator(max_bytes=MAX_BYTES)
    context, peak = extracted_with_memory(propagator, raw)
    assert len(context["a"]) > size // 10
    assert peak < 150 * size


@pytest.mark.parametrize("size", [4096, 4097, 10_000, 200_000, 10_000_000])
def test_is_not_even_read_over_the_limit(size: int) -> None:
    raw, propagator = repeated("{}", size).ljust(size), Propagator(on_rejected=lambda _: None)
    _, peak = extracted_with_memory(propagator, raw)
    assert propagator.rejections == {"too-large": 1}
    assert peak < 10_000


@pytest.mark.parametrize("depth", [1, 31, 32, 33, 500, 900, 990, 1000, 5000, 30_000])
@pytest.mark.parametrize("kind", [("[", "]"), ('{"":', "}")], ids=repr)
def test_is_restored_to_a_depth_of_32_levels(kind: tuple[str, str], depth: int) -> None:
    opened, closed = kind
    oracle = Oracle(Propagator(max_bytes=MAX_BYTES, on_rejected=lambda _: None))
    oracle.check('{"a":' + opened * depth + "1" + closed * depth + "}")
    assert oracle.whole == (depth <= 32)
    oracle.check('{"a":' + opened * depth)
    assert oracle.whole == (depth <= 32)
