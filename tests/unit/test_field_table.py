"""Field tables are read whatever stands in them, and never raise."""

from datetime import UTC, datetime
from decimal import Decimal
from math import isnan
from struct import pack, unpack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqctx._amqp.field_table import MAX_DEPTH, UNREADABLE, Unreadable, decode_table
from tests.drivers.field_tables import EVERY_TYPE, nested, table, typed


def decode(encoded: bytes) -> dict[str, Any]:
    return decode_table(encoded, 4, len(encoded))


def short(value: float) -> float:
    return float(unpack(">f", pack(">f", value))[0])


def integers(kind: str, bits: int, signed: bool) -> st.SearchStrategy[tuple[tuple[str, int], int]]:
    low = -(2 ** (bits - 1)) if signed else 0
    numbers = st.integers(low, low + 2**bits - 1)
    return numbers.map(lambda number: ((kind, number), number))


FLAT = st.one_of(
    *(integers(kind, 8 * size, kind in "bsUIlL") for kind, size in {
        "b": 1, "B": 1, "s": 2, "U": 2, "u": 2, "I": 4, "i": 4, "l": 8, "L": 8,
    }.items()),
    st.booleans().map(lambda value: (("t", value), value)),
    st.floats(width=32, allow_nan=False).map(lambda value: (("f", value), value)),
    st.floats(allow_nan=False).map(lambda value: (("d", value), value)),
    st.tuples(st.integers(0, 255), st.integers(-(2**31), 2**31 - 1)).map(
        lambda value: (("D", value), Decimal(value[1]).scaleb(-value[0]))
    ),
    st.text(max_size=20).map(lambda value: (("S", value), value)),
    st.binary(max_size=20).map(lambda value: (("x", value), value)),
    st.integers(0, 253_402_300_799).map(
        lambda value: (("T", value), datetime.fromtimestamp(value, UTC))
    ),
    st.just((("V", None), None)),
)  # fmt: skip
KEYS = st.text(max_size=10)
VALUES = st.recursive(
    FLAT,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(
            lambda pairs: (("A", [p[0] for p in pairs]), [p[1] for p in pairs])
        ),
        st.dictionaries(KEYS, inner, max_size=3).map(
            lambda pairs: (
                ("F", [(key, pair[0]) for key, pair in pairs.items()]),
                {key: pair[1] for key, pair in pairs.items()},
            )
        ),
    ),
    max_leaves=4,
)


@settings(max_examples=30)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_each_value_comes_back_as_it_was_written(pairs: dict[str, Any]) -> None:
    encoded = table((key, wire) for key, (wire, _) in pairs.items())
    assert decode(encoded) == {key: value for key, (_, value) in pairs.items()}


@given(st.binary(max_size=200))
def test_bytes_that_are_no_table_never_raise(data: bytes) -> None:
    decode_table(data, 0, len(data))


@given(st.integers(0, 400))
def test_a_table_that_is_cut_short_keeps_what_comes_before(length: int) -> None:
    encoded = table(EVERY_TYPE[:15])[: 4 + length]
    whole = decode(table(EVERY_TYPE[:15]))
    cut = decode(encoded)
    cut.pop(UNREADABLE, None)
    assert cut.items() <= whole.items()


def test_every_type_is_known() -> None:
    read = decode(table(EVERY_TYPE[:-1]))
    assert list(read) == [name for name, _ in EVERY_TYPE[:-1]]
    assert read["float"] == 1.5
    assert read["not text"] == b"\xff\xfe"
    assert read["table"] == {"inner": {"deep": 2.5}}


def test_a_float_that_is_no_number_is_read() -> None:
    assert isnan(decode(table([("f", ("f", float("nan")))]))["f"])


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (1_700_000_000_123, "timestamp 1700000000123 (2023-11-14T22:13:20Z if in milliseconds)"),
        (
            1_700_000_000_123_456,
            "timestamp 1700000000123456 (2023-11-14T22:13:20Z if in microseconds)",
        ),
        (
            1_700_000_000_123_456_789,
            "timestamp 1700000000123456789 (2023-11-14T22:13:20Z if in nanoseconds)",
        ),
        (2**64 - 1, "timestamp 18446744073709551615 (2554-07-21T23:34:33Z if in nanoseconds)"),
    ],
)
def test_a_timestamp_in_another_unit_is_shown_with_what_it_may_mean(count: int, shown: str) -> None:
    assert str(decode(table([("at", ("T", count))]))["at"]) == shown


def test_deep_nesting_is_shown_by_its_size() -> None:
    value: Any = decode(table([("n", nested(700))]))["n"]
    for _ in range(MAX_DEPTH):
        value = value["n"]
    assert value == Unreadable(f"4193 bytes, nested more than {MAX_DEPTH} deep")


def test_a_nested_value_that_is_broken_spoils_nothing_beside_it() -> None:
    broken = [("broken", ("F", b"\x01aS\0\0\0\xff")), ("array", ("A", [("S", "x")]))]
    encoded = table([*broken, ("after", ("I", 1))])
    assert decode(encoded) == {
        "broken": {UNREADABLE: Unreadable("7 bytes that cannot be read: 016153000000ff")},
        "array": ["x"],
        "after": 1,
    }


def test_a_type_that_nobody_knows_ends_an_array() -> None:
    array = b"A" + (7).to_bytes(4, "big") + typed(("t", True)) + b"?1234"
    encoded = (len(array) + 2).to_bytes(4, "big") + b"\x01a" + array
    assert decode(encoded) == {"a": [True, Unreadable("5 bytes that cannot be read: 3f31323334")]}


def test_of_equal_keys_the_last_counts() -> None:
    assert decode(table([("a", ("I", 1)), ("a", ("I", 2))])) == {"a": 2}


def test_a_key_that_is_no_text_is_escaped() -> None:
    encoded = (3).to_bytes(4, "big") + b"\x01\xffV"
    assert decode(encoded) == {"\\xff": None}
