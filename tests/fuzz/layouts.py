"""Checks of the other formats, for any headers. They are read a second time here."""

import base64
import hmac
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mqctx import Context, JsonFormat, OversizeError, Propagator
from mqctx.formats import Format
from mqctx.formats.baggage import BaggageFormat
from mqctx.formats.flat import FlatFormat
from mqctx.formats.signed import SignedFormat
from tests.fuzz.oracle import check_names, check_value

Said = dict[str, object]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_KEY = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_OCTETS = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_PROPERTY = rf"[ \t]*;[ \t]*{_KEY}[ \t]*(?:=[ \t]*{_OCTETS}[ \t]*)?"
_MEMBER = re.compile(rf"({_KEY})[ \t]*=[ \t]*({_OCTETS})((?:{_PROPERTY})*)")
_TYPED = re.compile(r";[ \t]*mqctx[ \t]*=[ \t]*json[ \t]*(?:;|$)")


def as_text(raw: object) -> str | None:
    """Return what a header says as text, None where it is none or too long."""
    if isinstance(raw, bytes | bytearray):
        raw = raw.decode(errors="replace")
    return raw if isinstance(raw, str) else None


def unquoted(text: str) -> str:
    """Undo percent-encoding, byte for byte."""
    raw = text.encode(errors="surrogatepass")
    decoded = re.sub(rb"%([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), raw)
    return decoded.decode(errors="replace")


def said_in_baggage(raw: object) -> Said:
    """Return what the first 64 members say that a context can hold; of repeated ones, the last."""
    said: Said = {}
    parts = [part.strip(" \t") for part in (as_text(raw) or "").split(",")]
    for part in list(filter(None, parts))[:64]:
        member = _MEMBER.fullmatch(part)
        if member is None or not _NAME.fullmatch(member[1]) or member[1] == "baggage.others":
            continue
        text, typed = unquoted(member[2]), _TYPED.search(member[3]) is not None
        if not typed and text.endswith(";mqctx=json"):
            text, typed = text.removesuffix(";mqctx=json"), True
        if not typed:
            said[member[1]] = text
        elif (value := parsed(text)) is not ...:
            said[member[1]] = value
    return said


def said_in_flat(raw: object) -> Said:
    """Return what the header `mqctx-a` says."""
    text = as_text(raw)
    if text is None:
        return {}
    value = parsed(text[5:]) if text.startswith("json:") else unquoted_or_raw(text)
    return {} if value is ... else {"a": value}


def unquoted_or_raw(text: str) -> str:
    """Undo percent-encoding, where a lone surrogate may stand beside it."""
    return (
        text
        if "%" not in text
        else "".join(
            unquoted(part) if part.isascii() else part
            for part in re.split(r"([^\x00-\x7f]+)", text)
        )
    )


def parsed(text: str) -> object:
    """Return what JSON says, `...` where it is none."""
    try:
        value: object = json.loads(text)
        json.dumps(value, allow_nan=False)  # 1e999 is no number here
    except (ValueError, RecursionError):
        return ...
    return value


@dataclass
class LayoutOracle:
    """Checks one header after another of a format, and counts what became of them."""

    layout: Format
    header: str
    said: Callable[[object], Said]
    whole: int = 0
    partial: int = 0
    empty: int = 0

    def __post_init__(self) -> None:
        self.propagator = self._propagator(4096)
        self._wide = self._propagator(130_000)

    def _propagator(self, max_bytes: int) -> Propagator:
        return Propagator(formats=[self.layout], max_bytes=max_bytes, on_rejected=lambda _: None)

    def check(self, raw: object) -> None:
        """Extract a header's value, and compare."""
        before = Counter(self.propagator.rejections)
        context = self.propagator.extract({self.header: raw})
        rejected = Counter(self.propagator.rejections) - before
        assert type(context) is Context
        assert "error" not in rejected
        check_names(context)
        said = {} if not context and "too-large" in rejected else self.said(raw)
        restored = {name: value for name, value in context.items() if name != "baggage.others"}
        for name, value in restored.items():
            check_value(name, said[name], value)
        assert rejected or restored.keys() == said.keys()
        self._check_travels_on(context)
        self._count(context, rejected.total())

    def _check_travels_on(self, context: Context) -> None:
        try:
            sent = context.run(self._wide.inject)
        except OversizeError:
            return  # 8192 bytes of W3C Baggage; encoded anew a value may be longer
        assert all(text.isascii() for text in sent.values())
        again: dict[str, Any] = dict(self._wide.extract(sent))
        # A member whose value was rejected does not travel on.
        for values in (again, kept := dict(context)):
            values.pop("baggage.others", None)
        assert repr(again) == repr(kept)

    def _count(self, context: Context, rejected: int) -> None:
        if not rejected:
            self.whole += 1
        elif context:
            self.partial += 1
        else:
            self.empty += 1


SECRET = "sixteen bytes or more"  # noqa: S105 - of the tests only
_SIGNED = re.compile(r"(k\.[0-9]{1,12})\.([^:]*):(.*)", re.DOTALL)


def said_and_signed(raw: object) -> Said:
    """Return what JSON says behind a signature that is right to the letter."""
    match = _SIGNED.fullmatch(as_text(raw) or "")
    if match is None:
        return {}
    message = f"{match[1]}:{match[3]}".encode(errors="surrogatepass")
    key = hmac.digest(SECRET.encode(), b"mqctx mqctx", "sha256")
    signature = base64.urlsafe_b64encode(hmac.digest(key, message, "sha256"))
    said: Said = json.loads(match[3]) if match[2] == signature.decode().rstrip("=") else {}
    return said


ORACLES: dict[str, Callable[[], LayoutOracle]] = {
    "baggage": lambda: LayoutOracle(BaggageFormat(), "baggage", said_in_baggage),
    "signed": lambda: LayoutOracle(
        SignedFormat(JsonFormat(), {"k": SECRET}), "mqctx", said_and_signed
    ),
    "flat": lambda: LayoutOracle(FlatFormat(), "mqctx-a", said_in_flat),
}
