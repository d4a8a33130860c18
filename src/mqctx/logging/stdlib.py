"""The active context in the records of the standard library's `logging`."""

import copy
import logging
import sys
from collections.abc import Iterable

from mqctx._core.registry import registry
from mqctx._core.settings import check_text
from mqctx._core.store import active_store, last_version
from mqctx.errors import ConfigurationError
from mqctx.logging._fields import (
    MARK,
    NO_VIEW,
    RECORD_NAMES,
    RESERVED,
    Fields,
    View,
    context_of,
    show,
    take_back,
    view_in,
)

__all__ = ["ContextFilter", "context_of"]

_may_copy = sys.version_info >= (3, 12)
"""Whether a filter may return another record for its handler alone."""


class ContextFilter(logging.Filter):
    """Put the context into each record, as attributes. No record is filtered out.

    Add it to handlers, one to each: a logger asks its filters for its own records only, not for
    those of its children. The first filter that a record meets decides which context it has. So
    give one to a `QueueHandler` or `MemoryHandler` too, which hand records on later, elsewhere.

    Handlers share a record. From Python 3.12 on each filter gives its handler a copy. Before, it
    replaces the fields that the filter of an earlier handler put there.

    A name that the record has of its own (`name`, `args`, `level`, ...), or that this process did
    not choose, is shown below `context.`: the sender of an unsigned value cannot pick the fields of
    a line. This process chooses a name by `names`, by a `Variable`, by a setting of the middleware,
    or by setting a value. Attributes that were given with `extra=` stay. Values are the context's
    own objects: do not change them.

    Args:
        names: Names that are shown, a trailing `*` for a prefix (`"order.*"`). None: all but
            the local ones.
        prefix: Put before each name, such as `"ctx_"`.
        redact: Names whose values are shown as `***`, in the same way as `names`.
        attribute: Put all into one attribute of this name, empty outside a run, instead of
            one each: a mapping, and as text `request_id=r-1 tenant=acme`, in one line always,
            each value cut at 4,096 characters.

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
        if attribute is not None:
            check_text("attribute", attribute or None)
        if attribute in RECORD_NAMES:
            raise ConfigurationError(
                f"attribute: a record has a {attribute!r} of its own; choose another name"
            )
        self._fields = Fields(names, prefix, redact, RESERVED, attribute)

    def filter(self, record: logging.LogRecord) -> bool:
        """Put the context into `record`, or from Python 3.12 on into the copy that it returns."""
        held = record.__dict__
        if MARK in held:
            return self._filter_again(record)
        if _may_copy:
            copied = _copy(record)
            held[MARK] = copied.__dict__[MARK] = self._fields.show_active(copied.__dict__)
            return copied  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # a record, from Python 3.12 on
        # The same as `show_active`, which would be one more call for each line.
        store = active_store()
        version = store.later or store
        context = version.context if version.later is None else last_version(version).context
        view: View = context.shown.get(self._fields, NO_VIEW)
        if view.chosen is not registry.undeclared:
            view = self._fields.of(context)
        for read, absent, value in view.linked:
            if read(absent) is not value:
                view = self._fields.of(store.now())
        # One by one: to ask for all names at once takes longer, in so large a mapping.
        for name, value in view.pairs:
            if name in held:
                view = view.beside({name})
            else:
                held[name] = value
        held[MARK] = view
        return True

    def _filter_again(self, record: logging.LogRecord) -> bool:
        known = view_in(record)
        if known is None:
            return True  # from another process, where a filter decided
        shown = _copy(record) if _may_copy else record
        take_back(vars(shown), known)
        vars(record)[MARK] = vars(shown)[MARK] = show(vars(shown), self._fields.of(known.context))
        return shown  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # the same


def _copy(record: logging.LogRecord) -> logging.LogRecord:
    if type(record) is not logging.LogRecord:
        return copy.copy(record)
    shown = object.__new__(logging.LogRecord)  # a third of the time of `copy.copy`
    vars(shown).update(vars(record))
    return shown
