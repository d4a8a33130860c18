"""An endless stream of header values that nobody would send in good faith.

A seed makes it repeatable. Most values are mutations of valid headers, because noise alone never
gets past the first character of a parser.
"""

import datetime as dt
import json
import random
import string
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from mqctx import JsonFormat, Propagator, scope
from mqctx.formats import Format

LARGEST = 6000
"""How long most values are at most: some above the default max_bytes, most below."""

TOKENS: list[bytes] = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"/", b" ", b"\n", b"\0", b"\x7f"),
    *(b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity", b"undefined", b"-0", b"-0.0"),
    *(b"1e999", b"-1e999", b"1e-999", b"0x10", b"01", b"1.", b".1", b"1_000", b"9" * 20),
    *(b"18446744073709551616", b"1.7976931348623159e308", b"9" * 400, b"9" * 4301),
    *(b"\\ud800", b"\\udfff\\ud800", b"\\ud83d\\ude00", b"\\u0000", b"\\u00", b"\\x41"),
    *("\u2028".encode(), "\u00e9".encode(), "\U0001f600".encode()),
    *(b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"),
]
"""Tokens that parsers stumble over."""

TEXT_TOKENS: list[bytes] = [
    *(b"=", b";", b"; ", b" ,\t", b"a=1", b"a=1;p", b"1a!=2;p=q", b";mqctx=json", b"json:", b"+"),
    *(b"%", b"%%", b"%4", b"%zz", b"%00", b"%0d%0A", b"%22", b"%5B", b"%C3%A9", b"%c3", b"%FF"),
    *(
        b"foo@=1",
        b"f@@b/*=2,f@@b/*=3",
        b"mqctx=",
        b"00-",
        b"-01",
        b"0af7651916cd43dd",
        b"\t",
        b"=  ",
    ),
    *(b"%ED%A0%80", b"%2C", b"%3B", b"%3Bmqctx=json", b"baggage.others=a%3D1", b".1.", b":", b"."),
]
"""The same for parsers of text with percent signs."""

NAMES = ["user", "tenant", "request_id", "a", "order.id", "trace-id", "_", "Z9", "x" * 64]
"""Legal names, none of them declared."""

NOT_ASCII = "\u00e9\u4e16\U0001f600\0"

ILLEGAL_NAMES = ["", " ", "a b", "9a", "-a", ".a", "a" * 65, "\u00e9", "a\n", "a\0", "__proto__ "]

DECLARED_TEXTS: dict[str, list[object]] = {
    "uuid": [str(UUID(int=5)), "00000000000000000000000000000005", "", 5],
    "at": [
        "2026-11-22T09:30:00+02:00",
        "0001-01-01T00:00:00-14:00",
        "9999-12-31T23:59:59Z",
        0,
        "24:00",
    ],
    "total": [
        "19.90",
        19.9,
        5,
        "1e999999",
        "-0",
        "1E+3",
        "x",
        "1" * 300,
        "NaN",
        "sNaN",
        "Infinity",
    ],
    "plan": ["pro", "free", "PRO", None],
    "ratio": [0.5, 5, 10**400, "0.5", True],
    "count": [5, -1, 2**63, 2**64, 2**100, 5.0, 5.5, "5", True],
    "order": [{"id": 1, "lines": ["a"]}, {"id": 1}, {"id": "1", "lines": []}, [], {"lines": {}}],
    "secret": ["s"],
}
"""Values, some good and some bad, for the names that `oracle.declare` declares."""

WRONG_TYPES: list[object] = [
    *(None, True, False, 0, -1, 2**70, 0.5, float("nan"), float("inf"), 1j, ...),
    *([], ["{}"], {}, {"a": 1}, {1: 2}, (), ("{}",), set[str](), frozenset({"a"}), range(3)),
    *(
        memoryview(b"{}"),
        Decimal("1"),
        UUID(int=5),
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    ),
    *(object(), object, print, Exception("{}")),
]
"""Values that are no text, but may stand in a header or in place of the headers."""


class Hostile:
    """The stream: iterate over it for ever. Its valid headers were written in some layout."""

    def __init__(self, seed: int, layout: Format | None = None) -> None:
        self._random = random.Random(seed)
        self._layout = layout or JsonFormat()
        self._tokens = TOKENS if layout is None else TOKENS + 4 * TEXT_TOKENS
        self._valid = [self._written() for _ in range(200)]
        self._mutations: list[Callable[[bytearray], None]] = [
            self._flip_bits,
            self._truncate,
            self._remove,
            self._duplicate,
            self._splice,
            self._insert_token,
            self._insert_noise,
        ]

    def __iter__(self) -> Iterator[object]:
        kinds = [
            self._mutated,
            self._valid_value,
            self._made,
            self._nested,
            self._noise,
            self._runs,
        ]
        weights = [50, 10, 30, 3, 3, 3]
        while True:
            if self._random.random() < 0.02:
                yield self._random.choice(WRONG_TYPES)
            else:
                yield self._as_some_type(self._random.choices(kinds, weights)[0]())

    def _as_some_type(self, raw: bytes) -> object:
        kind = self._random.randrange(6)
        if kind == 0:
            return bytes(raw)
        if kind == 1:
            return bytearray(raw)
        # Bytes that are not UTF-8 become a lone surrogate, or U+FFFD, or Latin-1.
        if kind == 2:
            return raw.decode("latin-1")
        return raw.decode(errors=self._random.choice(["surrogateescape", "replace"]))

    def _written(self) -> bytes:
        """Return a header as `inject` writes it."""
        values = {self._random.choice(NAMES): self._plain(3) for _ in range(self._below(8))}
        propagator = Propagator(formats=[self._layout], max_bytes=130_000)
        with scope(values):
            written: list[str] = list(propagator.inject().values()) or ["{}"]
        return self._random.choice(written).encode()

    def _valid_value(self) -> bytes:
        """Return one of the headers that were valid from the start."""
        return self._random.choice(self._valid)

    def _made(self) -> bytes:
        """Return JSON, or nearly, of names and values both legal and not; or tokens."""
        if self._tokens is not TOKENS:
            return b"".join(self._random.choices(self._tokens, k=self._below(20)))
        made: dict[str, Any] = {}
        for _ in range(self._below(6)):
            name = self._random.choice([*NAMES, *DECLARED_TEXTS, *DECLARED_TEXTS, *ILLEGAL_NAMES])
            choices = DECLARED_TEXTS.get(name)
            usual = choices and self._random.random() < 0.8
            made[name] = self._random.choice(choices) if choices and usual else self._plain(4)
        ascii_only = self._random.random() < 0.5
        return json.dumps(made, ensure_ascii=ascii_only).encode(errors="surrogatepass")

    def _plain(self, depth: int) -> Any:
        kind = self._below(10 if depth else 8)
        if kind == 8:
            return [self._plain(depth - 1) for _ in range(self._below(4))]
        if kind == 9:
            return {self._text(6): self._plain(depth - 1) for _ in range(self._below(4))}
        if kind == 0:
            return self._random.choice([None, True, False, "", 0, -0.0])
        if kind in (1, 2):
            return self._random.randint(-(2 ** self._below(90)), 2 ** self._below(90))
        if kind == 3:
            return self._random.uniform(-1, 1) * 10.0 ** self._random.randint(-300, 300)
        return self._text(40)

    def _text(self, longest: int) -> str:
        some = self._random.choice(
            [string.ascii_letters, string.printable, "\u00e9\u4e16\U0001f600\0"]
        )
        return "".join(self._random.choices(some, k=self._below(longest)))

    def _nested(self) -> bytes:
        depth = self._random.choice([31, 32, 33, 100, 1000, 1999])
        opened, closed = self._random.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'[{"":', b"}]")])
        closed *= depth - self._random.choice([0, 0, 0, 1, depth])
        return b'{"a":' + opened * depth + b"1" + closed + b"}"

    def _runs(self) -> bytes:
        """Return what patterns that try again at each character take longest for."""
        runs = [self._random.choice(self._tokens) * self._below(1500) for _ in range(3)]
        return b"".join([self._random.choice([b"", b"a=", b'{"a":"', b"k.1.x:"]), *runs])[:LARGEST]

    def _noise(self) -> bytes:
        return self._random.randbytes(self._below(200))

    def _mutated(self) -> bytes:
        changed = bytearray(self._valid_value() if self._random.random() < 0.8 else self._made())
        for _ in range(self._random.randint(1, 4)):
            self._random.choice(self._mutations)(changed)
        return bytes(changed[:LARGEST])

    def _flip_bits(self, raw: bytearray) -> None:
        for _ in range(self._random.randint(1, 3)):
            if raw:
                raw[self._below(len(raw))] ^= 1 << self._below(8)

    def _truncate(self, raw: bytearray) -> None:
        del raw[self._below(len(raw) + 1) :]

    def _remove(self, raw: bytearray) -> None:
        del raw[self._slice(raw)]

    def _duplicate(self, raw: bytearray) -> None:
        part = raw[self._slice(raw)]
        at = self._below(len(raw) + 1)
        raw[at:at] = part * self._random.choice([1, 2, 50])

    def _splice(self, raw: bytearray) -> None:
        other = self._valid_value()
        raw[self._slice(raw)] = other[self._slice(other)]

    def _insert_token(self, raw: bytearray) -> None:
        raw[self._slice(raw)] = self._random.choice(self._tokens)

    def _insert_noise(self, raw: bytearray) -> None:
        at = self._below(len(raw) + 1)
        raw[at:at] = self._noise()

    def _slice(self, raw: bytes | bytearray) -> slice:
        start = self._below(len(raw) + 1)
        return slice(start, start + self._below(min(40, len(raw)) + 1))

    def _below(self, limit: int) -> int:
        return int(self._random.random() * limit)
