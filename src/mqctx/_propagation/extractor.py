"""The usual message in one go: one header, flat values, names that are known."""

from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, TypeAlias

from mqctx._core.context import EMPTY, Context, from_checked
from mqctx._core.registry import registry
from mqctx._core.values import JSONValue
from mqctx._propagation.properties import Extract, PropertyOf
from mqctx.formats._format import header_size

Restore: TypeAlias = Callable[[Mapping[str, JSONValue]], Mapping[str, Any]]
"""Returns what may be restored of the values that a header has, and tells of the rest."""


class CachingExtractor:
    """Extraction for one format that says all by the text of one header; accepts all names.

    Where a name is declared, `restore` looks at the values. A header that is unusual, or cannot
    be read, goes the long way.
    """

    __slots__ = (
        *("_decode_text", "_header", "_last", "_longest", "_restore", "_short", "_the_long_way"),
    )

    def __init__(
        self,
        header: str,
        decode_text: Callable[[str], Mapping[str, JSONValue]],
        max_bytes: int,
        restore: Restore,
        the_long_way: Extract,
    ) -> None:
        self._header = header
        self._decode_text = decode_text
        self._restore = restore
        self._longest = max_bytes - header_size(header, "")
        self._short = self._longest // 4  # fits, however many bytes a character takes
        self._the_long_way = the_long_way
        self._last: tuple[str | None, object, Context] = None, None, EMPTY

    def extract(
        self, headers: Mapping[str, Any] | None, message: Any, property_of: PropertyOf
    ) -> Context:
        """Return the context that the header carries."""
        if not headers:
            return EMPTY
        text = values = None
        undeclared = registry.undeclared
        try:
            text = headers[self._header]
            if type(text) is str:
                # Many messages in a row come from one request, as a batch's do.
                last, then, context = self._last
                if text == last and then is undeclared:
                    return context
                size = len(text)
                if size <= self._short or (size <= self._longest and text.isascii()):
                    values = self._decode_text(text)
        except KeyError:
            return EMPTY
        except Exception:  # noqa: BLE001, S110 - what is wrong is told on the long way
            pass
        if values is None:
            return self._the_long_way(headers, message, property_of)
        restored = values if undeclared.issuperset(values) else self._restore(values)
        context = from_checked(restored, restored)  # nothing of it is signed
        if restored is values or _are_the_same(restored, values):
            self._last = text, undeclared, context
        return context


def _are_the_same(restored: Mapping[str, Any], values: Mapping[str, JSONValue]) -> bool:
    """Whether nothing was left out, and nothing became an object that somebody could change."""
    return len(restored) == len(values) and all(map(is_, restored.values(), values.values()))
