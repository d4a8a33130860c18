"""The context in the event dicts of structlog."""

import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

from mqctx.logging._fields import MARK, RESERVED, Fields, View, show, take_back, view_in

__all__ = ["ContextProcessor"]


class ContextProcessor:
    """Put the context into each event dict; keys that are there already win.

    In a `ProcessorFormatter` it shows the context that a `ContextFilter` gave to the record, and
    nothing without such a filter: a formatter may be called later, elsewhere.

    Keys that structlog or `logging` give a meaning (`level`, `exc_info`, `name`, ...), and names
    that this process did not choose (see `ContextFilter`), are shown below `context.`. Values are
    the context's own objects: do not change them.

    Args:
        names: Names that are shown, a trailing `*` for a prefix (`"order.*"`). None: all but
            the local ones.
        prefix: Put before each name, such as `"ctx_"`.
        redact: Names whose values are shown as `***`, in the same way as `names`.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    __slots__ = ("_fields",)

    def __init__(
        self, names: Iterable[str] | None = None, *, prefix: str = "", redact: Iterable[str] = ()
    ) -> None:
        self._fields = Fields(names, prefix, redact, RESERVED)

    def __call__(
        self, _logger: object, _method: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Put the context into `event_dict`, and return it."""
        record: logging.LogRecord | None = event_dict.get("_record")
        if record is None:
            self._fields.show_active(event_dict)
            return event_dict
        known = view_in(record)
        if known is not None:
            event_dict.pop(MARK, None)  # an ExtraAdder takes all attributes: before us, or after
            take_back(event_dict, known)
            show(event_dict, self._fields.of(known.context))
            event_dict["_record"] = _Bare.of(record, known)
        return event_dict


class _Bare(logging.LogRecord):
    """A record for the processors that follow: without the fields and the mark of a filter."""

    __slots__ = (MARK,)  # not among its attributes, but there for another ContextProcessor

    @staticmethod
    def of(record: logging.LogRecord, view: View) -> "_Bare":
        """Return `record` without what `view` shows."""
        bare = object.__new__(_Bare)
        vars(bare).update(vars(record))
        vars(bare).pop(MARK, None)
        take_back(vars(bare), view)
        setattr(bare, MARK, View.of(view.context, {}))
        return bare
