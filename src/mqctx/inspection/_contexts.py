"""The context in the headers of any message, as mqctx itself would restore it, in any format."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from mqctx._core.context import EMPTY, Context
from mqctx._core.rejection import Rejection
from mqctx._core.values import as_plain
from mqctx._propagation.propagator import Propagator
from mqctx.errors import ConfigurationError, MqctxError
from mqctx.formats import BaggageFormat, FlatFormat, Format, JsonFormat, TraceContextFormat
from mqctx.formats._format import headers_with

__all__ = ["ContextReader", "Restored", "parse_keys", "plain_of"]

_REMEMBERED: Final = 256
_MOST_BYTES: Final = 130_000  # a frame: what RabbitMQ carried can be shown
_SIGNED = re.compile(r"([A-Za-z0-9_-]{1,64})\.[0-9]{1,12}\.[A-Za-z0-9_-]*:(.*)", re.DOTALL)
_FORMATS: Final = (JsonFormat(), BaggageFormat(), TraceContextFormat(), FlatFormat())
_SIGNABLE: Final = {header: each for each in _FORMATS[:2] for header in each.headers}
"""The format of each header that may be signed: one for all values."""


class Restored(NamedTuple):
    """A context as a message carries it, and how far it can be relied on."""

    context: Context
    verified: bool | None
    """Whether its signature counts; None if there is no context, or no key to check it with."""
    rejections: tuple[Rejection, ...]
    """The values that a service would not restore, and why."""


class ContextReader:
    """Read the context of one message after the other, whichever format it is in.

    Args:
        keys: Secrets by name, as `SignedFormat` takes them. Without any, signed values are shown
            all the same, and nothing is said about their signature.

    Raises:
        ConfigurationError: a secret can be guessed, or its name cannot be one.
    """

    def __init__(self, keys: Mapping[str, str | bytes] | None = None) -> None:
        self._rejections: list[Rejection] = []
        self._propagator = cache(self._propagator_of)
        self._signed = _signed_formats(keys) if keys else {}

    def read(self, headers: Mapping[str, Any]) -> Restored:
        """Return what a message with these headers brings; never raises."""
        self._rejections.clear()
        bare, signed = _without_signatures(headers)
        context = self._extract(bare)
        # Not of the text that `bare` has: a signature counts for the header as it came.
        verified = self._verified(headers, signed) if context else None
        return Restored(context, verified, tuple(self._rejections))

    def _extract(self, headers: Mapping[str, Any]) -> Context:
        """Read the context in the formats of which there are headers: mostly one."""
        formats = _formats_of(tuple(headers))
        return self._propagator(formats).extract(headers) if formats else EMPTY

    def _propagator_of(self, formats: tuple[Format, ...]) -> Propagator:
        return Propagator(
            formats=formats, max_bytes=_MOST_BYTES, on_rejected=self._rejections.append
        )

    def _verified(self, headers: Mapping[str, Any], signed: list[str]) -> bool | None:
        """Tell whether all signatures count, and there are some; None without keys."""
        if not self._signed:
            return None
        return bool(signed) and all(self._counts(headers, self._signed[each]) for each in signed)

    def _counts(self, headers: Mapping[str, Any], format: Format) -> bool:
        """Tell whether the signature of a header counts, and note why not."""
        before = len(self._rejections)
        format.decode(headers, _MOST_BYTES, self._rejections.append)
        return len(self._rejections) == before


@lru_cache(_REMEMBERED)
def _formats_of(headers: tuple[str, ...]) -> tuple[Format, ...]:
    """Return the formats that would read one of these headers."""
    return tuple(each for each in _FORMATS if _has(headers, each))


def _has(headers: tuple[str, ...], format: Format) -> bool:
    if format.header_prefix is not None:
        return bool(headers_with(format.header_prefix, headers))
    return any(map(headers.__contains__, format.headers))


def _signed_formats(keys: Mapping[str, str | bytes]) -> dict[str, Format]:
    from mqctx.formats.signed import SignedFormat  # noqa: PLC0415 - needs the extra

    # An old dead letter is no forged one.
    return {header: SignedFormat(each, keys, max_age=None) for header, each in _SIGNABLE.items()}


def _without_signatures(headers: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """Return the headers with the text behind each signature alone, and those that had one."""
    bare: dict[str, str] = {}
    for header in _SIGNABLE:
        value = headers.get(header)
        if isinstance(value, str) and (match := _SIGNED.fullmatch(value)):
            bare[header] = match[2]
    return ({**headers, **bare} if bare else headers), list(bare)


def plain_of(context: Context) -> dict[str, Any]:
    """Return a context as plain JSON, whatever types this process declared."""
    plain: dict[str, Any] = {}
    for name, value in context.by_name.items():
        try:
            plain[name] = value if type(value) is str else as_plain(name, value)
        except MqctxError:
            plain[name] = str(value)
    return plain


def parse_keys(text: str) -> dict[str, str]:
    """Read secrets by name, as in `MQCTX_SIGNING_KEYS`: `name=secret,other=secret`.

    Raises:
        ConfigurationError: it is not such a list. The message shows nothing of it.
    """
    keys: dict[str, str] = {}
    for number, entry in enumerate(filter(None, text.split(",")), 1):
        name, equals, secret = entry.strip().partition("=")
        if not equals:
            raise ConfigurationError(
                f"MQCTX_SIGNING_KEYS: entry {number} is not name=secret; write name=secret,..."
            )
        keys[name] = secret
    return keys
