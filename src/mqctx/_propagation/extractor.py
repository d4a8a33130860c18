"""Fast extraction of the usual message: one header, flat values, known names."""

from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, TypeAlias

from mqctx._core.context import EMPTY, Context, from_checked
from mqctx._core.registry import registry
from mqctx._core.values import JSONValue
from mqctx._propagation.properties import Extract, PropertyOf
from mqctx.formats._format import header_size

Restore: TypeAlias = Callable[[Mapping[str, JSONValue]], Mapping[str, Any]]
"""Returns the values of a header that may be restored, and reports the rest."""


class CachingExtractor:
    """Fast extraction for a single format with a single header, if all names are accepted.

    `restore` checks the values if one of their names is declared. A header that is unusual, or
    cannot be read, goes to `extract_any`.
    """

    __slots__ = (
        *("_decode_text", "_extract_any", "_header", "_last", "_longest", "_restore", "_short"),
    )

    def __init__(
        self,
        header: str,
        decode_text: Callable[[str], Mapping[str, JSONValue]],
        max_bytes: int,
        restore: Restore,
        extract_any: Extract,
    ) -> None:
        self._header = header
        self._decode_text = decode_text
        self._restore = restore
        self._longest = max_bytes - header_size(header, "")
        self._short = self._longest // 4  # fits, however many bytes a character takes
        self._extract_any = extract_any
        # One tuple, replaced in one step: the threads of all handlers share it.
        self._last: tuple[str | None, object, Context] = None, None, EMPTY

    def extract(self, headers: Any, message: Any, property_of: PropertyOf) -> Context:
        """Return the context that the header carries."""
        try:
            if not headers:
                return EMPTY
            text = headers[self._header]
        except KeyError:
            return EMPTY  # a message of somebody without mqctx: nothing to report
        except Exception:  # noqa: BLE001 - of no headers, or of a foreign object's own code
            text = None
        if type(text) is str:
            # One request often sends many messages in a row.
            last, then, context = self._last
            if text == last and then is registry.undeclared:
                return context
            read = self._read(text)
            if read is not None:
                return read
        # Which reports what is wrong, too.
        return self._extract_any(headers, message, property_of)

    def _read(self, text: str) -> Context | None:
        """Return the context in a text, None if it is unusual."""
        if len(text) > self._short and self._may_be_too_long(text):
            return None
        undeclared = registry.undeclared  # as it is before anything is looked up
        try:
            values = self._decode_text(text)
        except Exception:  # noqa: BLE001 - a format may be anybody's
            return None
        restored = values if undeclared.issuperset(values) else self._restore(values)
        context = from_checked(restored, restored)  # nothing of it is signed
        if restored is values or _are_the_same(restored, values):
            self._last = text, undeclared, context
        return context

    def _may_be_too_long(self, text: str) -> bool:
        return len(text) > self._longest or not text.isascii()


def _are_the_same(restored: Mapping[str, Any], values: Mapping[str, JSONValue]) -> bool:
    """Tell whether nothing was left out, and nothing became an object that could change."""
    return len(restored) == len(values) and all(map(is_, restored.values(), values.values()))
