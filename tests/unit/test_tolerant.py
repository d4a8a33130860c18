"""Properties that a client cannot read, as far as they can be read."""

import struct

from mqctx._amqp.tolerant import readable_properties


def test_what_cannot_be_read_is_described_in_headers_and_left_out_elsewhere() -> None:
    odd = b"T" + struct.pack(">Q", 2**62)
    array = b"A" + struct.pack(">I", len(odd)) + odd
    table = b"\1a" + odd + b"\1b" + array + b"\1cF\0\0\0\3\1dV"
    flags = (1 << 13) | (1 << 7) | (1 << 6)
    raw = struct.pack(">H", flags) + struct.pack(">I", len(table)) + table
    raw += b"\3m-1" + struct.pack(">Q", 2**62)
    described = f"timestamp {2**62} (2116-02-20T23:53:38Z if in nanoseconds)"
    assert readable_properties(raw) == {
        "headers": {"a": described, "b": [described], "c": {"d": None}},
        "message_id": "m-1",
    }


def test_nothing_is_read_of_nothing() -> None:
    assert readable_properties(b"\0\0") == {}
