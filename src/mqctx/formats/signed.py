"""Signed headers, which only a holder of the key can write."""

import re
import time
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from string import whitespace
from typing import Any, Final, NoReturn, cast

from itsdangerous import Signer

from mqctx._core.rejection import RefusedError, Rejection, Report
from mqctx._core.values import JSONValue, type_name
from mqctx.errors import ConfigurationError
from mqctx.formats._format import Format, Headers, text_in

__all__ = ["SignedFormat"]

_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# At most 12 digits of a time: `int` of a text that a stranger wrote must stay cheap.
_SIGNED = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9]{1,12})\.([A-Za-z0-9_-]*):(.*)", re.DOTALL)
# 32 bytes in base64url. Two bits of the last character mean nothing: only one spelling counts.
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_LEAST_SECRET: Final = 16
_LEAST_UNPADDED: Final = 12  # random bytes may begin or end with what looks like padding
_LEAST_DISTINCT: Final = 6  # of 16 random hex digits, fewer are one in a million
_DAY: Final = 24 * 60 * 60
_CLOCK_SKEW: Final = 300  # seconds that the clock of a signer may be ahead of ours


class SignedFormat:
    """Another format's header, signed: HMAC-SHA256 over header name, key name, time and text.

    It shows that a holder of the key wrote this header, at that time. It hides nothing. It
    does not show that the header belongs to this message: within `max_age`, whoever may publish
    can put a header that he has seen on a body of his own, or leave it out.

    Args:
        format: A format of one header, such as `JsonFormat()` or `BaggageFormat()`.
        keys: Secrets by name, of 16 bytes or more and without a pattern. All verify; the names are
            in the header.
        sign_with: The name of the key that signs; the first one by default. To change the key,
            give the new one to all that read, then sign with it, then take away the old one.
        max_age: The seconds for which a signature counts, None for ever. The default is 30 days,
            for messages that wait in dead-letter queues.

    Raises:
        ConfigurationError: a setting cannot work, or a secret can be guessed.
    """

    __slots__ = (
        "_format",
        "_header",
        "_sign_with",
        "_signers",
        "headers",
        "max_age",
        "owned_names",
        "yields_plain_json",
    )

    header_prefix = None
    properties: tuple[str, ...] = ()
    verifies = True
    decode_text = None
    join = None

    def __init__(
        self,
        format: Format,
        keys: Mapping[str, str | bytes],
        *,
        sign_with: str | None = None,
        max_age: float | None = 30 * _DAY,
    ) -> None:
        _check_single(format)
        secrets = _checked_keys(keys)
        self._sign_with = next(iter(secrets)) if sign_with is None else sign_with
        if self._sign_with not in secrets:
            raise ConfigurationError(f"sign_with: not one of the keys, {', '.join(secrets)}")
        _check_max_age(max_age)
        self._format = format
        self.headers: tuple[str, ...] = tuple(format.headers)
        (self._header,) = self.headers
        self.owned_names: Collection[str] = format.owned_names
        self.yields_plain_json: bool = format.yields_plain_json
        self.max_age: float | None = max_age
        self._signers = {name: _signer(secret, self._header) for name, secret in secrets.items()}

    def encode(
        self, values: Mapping[str, JSONValue]
    ) -> Mapping[str, str] | Callable[[int], Mapping[str, str]]:
        """Return a function that signs the header anew each second; no header for no values."""
        written = cast("Mapping[str, str]", self._format.encode(values))
        if not written:
            return written
        text = written[self._header]
        latest = (0, "")

        def headers(_room: int) -> Mapping[str, str]:
            nonlocal latest
            # Read and replaced in one step each: threads may publish from one context.
            now, signed = int(time.time()), latest
            if signed[0] != now:
                latest = signed = (now, self._sign(text, now))
            return {self._header: signed[1]}

        return headers

    def _sign(self, text: str, now: int) -> str:
        key = self._sign_with
        signature = self._signers[key].get_signature(f"{key}.{now}:{text}").decode()
        return f"{key}.{now}.{signature}:{text}"

    def decode(self, headers: Headers, max_bytes: int, report: Report) -> Mapping[str, JSONValue]:
        """Return the values in the header, if its signature counts."""
        signed = text_in(headers, self._header, max_bytes, report)
        if signed is None:
            return {}
        try:
            text = self._verified(signed)
        except RefusedError as refused:
            report(Rejection("extract", self._header, None, refused.reason, str(refused)))
            return {}
        return self._format.decode({self._header: text}, max_bytes, report)

    def _verified(self, signed: str) -> str:
        """Return the text of a header; raise `RefusedError` unless its signature counts."""
        match = _SIGNED.fullmatch(signed)
        if match is None:
            raise RefusedError("unsigned", "it does not begin with a signature")
        key, signed_at, signature, text = match.groups()
        signer = self._signers.get(key)
        if signer is None:
            raise RefusedError("unknown-key", f"no key here has the name {key!r}")
        # Key and time are signed too, so that neither can be exchanged for another.
        message = f"{key}.{signed_at}:{text}".encode(errors="surrogatepass")
        if not _SIGNATURE.fullmatch(signature) or not signer.verify_signature(message, signature):
            raise RefusedError("forged", f"the signature by {key!r} is not that of this header")
        self._check_age(int(time.time()) - int(signed_at))
        return text

    def _check_age(self, age: int) -> None:
        if age < -_CLOCK_SKEW:
            raise RefusedError("expired", f"signed {-age} s ahead of the clock here")
        if self.max_age is not None and age > self.max_age:
            raise RefusedError("expired", f"signed {age} s ago, max_age is {self.max_age}")

    def strip(self, headers: dict[str, Any]) -> None:
        """Remove the header from `headers`, in place."""
        self._format.strip(headers)

    def __reduce__(self) -> NoReturn:
        raise ConfigurationError(
            "a SignedFormat holds secrets and is never pickled; make it anew in each process"
        )

    def __repr__(self) -> str:
        return f"SignedFormat({self._format!r}, keys={list(self._signers)}, max_age={self.max_age})"


def _signer(secret: bytes, header: str) -> Signer:
    return Signer(
        secret,
        # So a signature counts for this header alone, and not in another one.
        salt=f"mqctx {header}",
        # itsdangerous' own default hashes salt and secret in a row.
        key_derivation="hmac",
        digest_method=sha256,
    )


def _check_single(format: Format) -> None:
    # Tried out: a format is not asked what it is, but what it does.
    written = format.encode({"name": "value"})
    if callable(written) or set(written) != {*format.headers} or format.properties:
        raise ConfigurationError(
            f"format: {format!r} does not write one header for all values, as JsonFormat and "
            "BaggageFormat do; several that are signed apart could be mixed with others"
        )


def _check_max_age(seconds: float | None) -> None:
    # `not >` rather than `<=`: NaN is refused too.
    if seconds is not None and not seconds > 0:
        raise ConfigurationError(f"max_age: {seconds} is not a number of seconds above 0")


def _checked_keys(keys: object) -> dict[str, bytes]:
    """Return secrets as bytes; raise `ConfigurationError`, never showing what may be a secret."""
    if not isinstance(keys, Mapping) or not keys:
        raise ConfigurationError("keys: give a mapping of key names to secrets, at least one")
    checked: dict[str, bytes] = {}
    for number, (name, secret) in enumerate(cast("Mapping[object, object]", keys).items(), 1):
        key = _checked_key_name(name, number)
        checked[key] = _checked_secret(key, secret)
    return checked


def _checked_key_name(name: object, number: int) -> str:
    if isinstance(name, str) and _KEY_NAME.fullmatch(name):
        return name
    # By its number: it may be a secret that was given in the wrong place.
    raise ConfigurationError(
        f"keys: the name of key {number} is not of letters, digits, _ and -, all ASCII, at most 64"
    )


def _checked_secret(name: str, given: object) -> bytes:
    secret = _as_bytes(name, given)
    if weakness := _weakness(secret):
        raise ConfigurationError(
            f"keys: the secret of {name!r} {weakness}; secrets.token_hex(32) makes a good one"
        )
    return secret


def _as_bytes(name: str, secret: object) -> bytes:
    if isinstance(secret, str):
        # An error in encoding would show the secret.
        return secret.encode(errors="surrogatepass")
    if not isinstance(secret, bytes):
        kind = type_name(type(secret))
        raise ConfigurationError(f"keys: the secret of {name!r} is a {kind}, not str or bytes")
    return secret


def _weakness(secret: bytes) -> str | None:
    """Return the reason why a secret can be guessed, without showing any of it."""
    unpadded = secret.strip(b"\0" + whitespace.encode())
    # The last repeat may be cut short.
    periods = range(1, min(_LEAST_SECRET, len(secret) // 2 + 1))
    weaknesses = {
        f"has less than {_LEAST_SECRET} bytes": len(secret) < _LEAST_SECRET,
        f"has less than {_LEAST_UNPADDED} bytes between white space and NULs": (
            len(unpadded) < _LEAST_UNPADDED
        ),
        f"has less than {_LEAST_DISTINCT} different bytes": len(set(secret)) < _LEAST_DISTINCT,
        f"repeats less than {_LEAST_SECRET} bytes": any(
            secret[period:] == secret[:-period] for period in periods
        ),
    }
    return next((weakness for weakness, is_so in weaknesses.items() if is_so), None)
