"""The active context in the records of the standard library's `logging`."""

import logging
from collections.abc import Iterable
from typing import Any

from mqctx.errors import ConfigurationError
from mqctx.logging._fields import RECORD_NAMES, Fields

__all__ = ["ContextFilter"]


class ContextFilter(logging.Filter):
    """Put the active context into each record, as attributes. No record is filtered out.

    Add it to handlers: a logger asks its filters for its own records only, not for those of
    its children. Give it to a `QueueHandler`, not to the handlers of its listener: these work
    in another thread.

    Attributes that the record has of its own (`name`, `args`, `message`, ...), or was given
    with `extra=`, stay as they are; a prefix keeps such names apart. Values are the context's
    own objects: read only.

    Args:
        names: Names that are shown, a trailing `*` for a prefix (`"order.*"`). None: all but
            the local ones.
        prefix: Put before each name, such as `"ctx_"`.
        redact: Names whose values are shown as `***`, in the same way as `names`.
        attribute: Put all into one attribute of this name, empty outside a run, instead of
            one each: a mapping, and as text `request_id=r-1 tenant=acme`, in one line always.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    def __init__(
        self,
        names: Iterable[str] | None = None,
        *,
        prefix: str = "",
        redact: Iterable[str] = (),
        attribute: str | None = None,
    ) -> None:
        super().__init__()
        if attribute in RECORD_NAMES:
            raise ConfigurationError(
                f"attribute: a record has a {attribute!r} of its own; choose another name"
            )
        self._attribute = attribute
        reserved = RECORD_NAMES if attribute is None else frozenset[str]()
        self._fields = Fields(names, prefix, redact, reserved)

    def filter(self, record: logging.LogRecord) -> bool:
        """Put the context into `record`, and let it pass."""
        held = vars(record)
        if self._attribute is None:
            for name, shown, value in self._fields():
                # The filter of an earlier handler may have shown what is to be redacted here.
                if held.setdefault(name, shown) is value:
                    held[name] = shown
        elif isinstance(held.get(self._attribute, _NOTHING), InOne):
            held[self._attribute] = InOne({name: shown for name, shown, _ in self._fields()})
        return True


class InOne(dict[str, Any]):
    """Fields in one attribute: a mapping, and as text one line that nothing in it can break."""

    __slots__ = ()

    def __str__(self) -> str:
        return " ".join(f"{name}={_text(value)}" for name, value in self.items())


_NOTHING = InOne()


def _text(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(value)
