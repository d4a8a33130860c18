"""Field tables of AMQP 0-9-1 as bytes, each value with the type that the test wants."""

from collections.abc import Iterable
from struct import pack
from typing import Any

Typed = tuple[str, Any]

_LAYOUT = {
    "t": "?", "b": "b", "B": "B", "s": "h", "U": "h", "u": "H", "I": "i", "i": "I", "l": "q",
    "L": "q", "f": "f", "d": "d", "T": "Q",
}  # fmt: skip


def table(pairs: Iterable[tuple[str, Typed]]) -> bytes:
    """Return a table with its size in front."""
    return sized(b"".join(entry(name, value) for name, value in pairs))


def entry(name: str, value: Typed) -> bytes:
    """Return one key of a table with its value."""
    key = name.encode()
    return pack("B", len(key)) + key + typed(value)


def typed(value: Typed) -> bytes:
    """Return a value behind its type."""
    kind, held = value
    return kind.encode() + _content(kind, held)


def sized(content: bytes) -> bytes:
    """Return bytes behind how many they are."""
    return pack(">I", len(content)) + content


def nested(levels: int) -> Typed:
    """Return that many tables, each in the one before."""
    content = b""
    for _ in range(levels - 1):
        content = b"\x01nF" + sized(content)
    return "F", content


def _content(kind: str, held: Any) -> bytes:
    if kind == "V":
        return b""
    if kind == "D":
        return pack(">Bi", *held)
    if kind in "Sx":
        return sized(held.encode() if isinstance(held, str) else held)
    if kind == "A":
        return sized(b"".join(map(typed, held)))
    if kind == "F":
        return sized(held) if isinstance(held, bytes) else table(held)
    return pack(f">{_LAYOUT[kind]}", held)


EVERY_TYPE: list[tuple[str, Typed]] = [
    ("bool", ("t", True)),
    ("int8", ("b", -8)),
    ("uint8", ("B", 200)),
    ("int16", ("s", -300)),
    ("uint16", ("u", 60_000)),
    ("int32", ("I", -70_000)),
    ("uint32", ("i", 4_000_000_000)),
    ("int64", ("l", -(2**40))),
    ("float", ("f", 1.5)),
    ("double", ("d", 0.1)),
    ("decimal", ("D", (2, 1234))),
    ("text", ("S", "Größe")),
    ("not text", ("S", b"\xff\xfe")),
    ("bytes", ("x", b"\x00\x01")),
    ("array", ("A", [("S", "a"), ("I", 1), ("A", [("V", None)])])),
    ("seconds", ("T", 1_700_000_000)),
    ("milliseconds", ("T", 1_700_000_000_123)),
    ("table", ("F", [("inner", ("F", [("deep", ("d", 2.5))]))])),
    ("void", ("V", None)),
    ("nested", nested(700)),
]
