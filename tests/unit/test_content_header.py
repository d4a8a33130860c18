"""Properties are changed byte for byte: what is not changed is as it was."""

from struct import pack
from typing import Any

import pika
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqctx._amqp.content_header import ContentHeader
from mqctx._amqp.field_table import UNREADABLE, Unreadable
from tests.drivers.field_tables import EVERY_TYPE, entry, sized, table

ALL: dict[str, Any] = {
    "content_type": "text/plain",
    "content_encoding": "utf-8",
    "headers": {"tenant": "acme", "mqctx": "{}", "count": 3},
    "delivery_mode": 2,
    "priority": 5,
    "correlation_id": "c",
    "reply_to": "r",
    "expiration": "60000",
    "message_id": "m",
    "timestamp": 1_700_000_000,
    "type": "t",
    "user_id": "guest",
    "app_id": "a",
    "cluster_id": "x",
}
SOME = st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in ALL.items()})


def raw(properties: dict[str, Any]) -> bytes:
    return b"".join(pika.BasicProperties(**properties).encode())


def header(properties: dict[str, Any]) -> ContentHeader:
    return ContentHeader(raw(properties))


def with_table(pairs: Any) -> ContentHeader:
    return ContentHeader(pack(">H", 0x2000) + table(pairs))


@settings(max_examples=40)
@given(SOME)
def test_properties_read_as_pika_wrote_them(properties: dict[str, Any]) -> None:
    read = header(properties)
    assert read.names == tuple(name for name in ALL if name in properties)
    assert read.headers == properties.get("headers", {})
    for name in ALL.keys() - {"timestamp"}:
        assert read.get(name) == properties.get(name, {} if name == "" else None)


@settings(max_examples=40)
@given(SOME, st.sets(st.sampled_from(sorted(ALL))))
def test_without_is_as_if_the_property_had_never_been_there(
    properties: dict[str, Any], names: set[str]
) -> None:
    rest = {name: value for name, value in properties.items() if name not in names}
    assert header(properties).without(*names).raw == raw(rest)


@settings(max_examples=40)
@given(SOME, st.sets(st.sampled_from(["tenant", "mqctx", "count", "other"])))
def test_without_headers_leaves_the_others(properties: dict[str, Any], names: set[str]) -> None:
    rest = dict(properties)
    if "headers" in rest:
        rest["headers"] = {k: v for k, v in rest["headers"].items() if k not in names}
    assert header(properties).without_headers(names).raw == raw(rest)


@settings(max_examples=40)
@given(SOME, st.sampled_from(["tenant", "mqctx", "new"]), st.text())
def test_with_header_replaces_or_comes_last(
    properties: dict[str, Any], name: str, text: str
) -> None:
    expected = properties | {"headers": properties.get("headers", {}) | {name: text}}
    assert header(properties).with_header(name, text).raw == raw(expected)


@given(st.binary(max_size=80))
def test_bytes_that_are_no_header_never_raise(data: bytes) -> None:
    read = ContentHeader(data)
    assert read.headers is not None
    for name in read.names:
        read.get(name)
    read.without(*ALL).without_headers({"a"})


def test_every_type_stays_bit_for_bit_when_one_key_changes() -> None:
    for name, _ in EVERY_TYPE:
        changed = with_table(EVERY_TYPE).without_headers({name})
        assert changed == with_table([pair for pair in EVERY_TYPE if pair[0] != name])
    changed = with_table(EVERY_TYPE).with_header("mqctx-redrive", "{}")
    assert changed == with_table([*EVERY_TYPE, ("mqctx-redrive", ("S", "{}"))])


def test_a_key_that_stands_twice_goes_twice_and_is_replaced_by_one() -> None:
    twice = with_table([("a", ("I", 1)), ("b", ("V", None)), ("a", ("I", 2))])
    assert twice.without_headers({"a"}) == with_table([("b", ("V", None))])
    assert twice.with_header("a", "x") == with_table([("a", ("S", "x")), ("b", ("V", None))])


def test_headers_are_sorted_by_their_keys_and_the_rest_stays() -> None:
    pairs = sorted(EVERY_TYPE, key=lambda pair: pair[0])
    before = ContentHeader(with_table(reversed(EVERY_TYPE)).raw + b"rest")
    assert before.with_sorted_headers().raw == with_table(pairs).raw + b"rest"
    assert header({}).with_sorted_headers() == header({})


def test_several_texts_are_an_array() -> None:
    changed = with_table([]).with_header("BCC", ["a", "\udcff"])
    assert changed == with_table([("BCC", ("A", [("S", "a"), ("S", b"\xff")]))])


def test_what_comes_before_the_break_of_a_table_can_be_changed() -> None:
    rest = b"\x01bS\0\0\xff\xff"
    broken = ContentHeader(pack(">H", 0x2000) + sized(entry("a", ("I", 1)) + rest))
    assert UNREADABLE in broken.headers
    assert broken.without_headers({"a"}).raw == pack(">H", 0x2000) + sized(rest)


def test_a_table_that_goes_beyond_the_header_is_shown_as_such() -> None:
    cut = ContentHeader(raw(ALL)[:60])
    assert cut.headers == {UNREADABLE: Unreadable("the table goes beyond the header")}
    assert cut.names == ("content_type", "content_encoding")


def test_flags_beyond_the_known_ones_are_left_alone() -> None:
    more = ContentHeader(pack(">HH", 0x2001, 0x8000) + table([("a", ("I", 1))]) + b"more")
    assert more.headers == {"a": 1}
    without = pack(">HH", 0x2001, 0x8000) + table([]) + b"more"
    assert more.without_headers({"a"}).raw == without


@pytest.mark.parametrize("count", [1_700_000_000_123, 2**64 - 1])
def test_a_timestamp_in_another_unit_is_shown(count: int) -> None:
    assert isinstance(header({"timestamp": count}).get("timestamp"), Unreadable)


def test_equal_headers_are_equal() -> None:
    assert header(ALL) == header(ALL)
    assert len({header(ALL), header(ALL), header({})}) == 2
    assert header(ALL) != raw(ALL)
    assert repr(header({})) == "ContentHeader(b'\\x00\\x00')"
