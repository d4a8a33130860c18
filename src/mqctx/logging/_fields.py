"""The active context in log records, for any logging library."""

import logging
from collections.abc import Container, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from mqctx._core import linked_vars
from mqctx._core.context import EMPTY, Context, keep_shown
from mqctx._core.linked_vars import Assignment
from mqctx._core.name_filter import NAMES_MEANT, name_filter
from mqctx._core.registry import registry
from mqctx._core.settings import check_text, checked_entries
from mqctx._core.store import active_store, current, last_version
from mqctx._core.values import type_name

REDACTED: Final = "***"
MARK: Final = "_mqctx"
"""The attribute of a record that holds its context."""

RECORD_NAMES: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "asctime",  # this and the message are set when the record is formatted
    "message",
    "taskName",  # from Python 3.12 on
    "_logger",  # these two are where structlog marks the records that are its own
    "_name",
    MARK,
}
"""Attributes that a `logging.LogRecord` has of its own, or may be given."""
RESERVED: Final = RECORD_NAMES | {
    *("_from_structlog", "_record", "event", "exception", "positional_args", "stack", "stacklevel"),
    *("level", "logger", "severity", "timestamp"),
}
"""Names that describe the line itself, to `logging` or to structlog's processors.

These raise over values that they do not expect.
"""

_OWN_PLACE: Final = "context."
_MOST_TEXT: Final = 4096
_ABSENT: Final = object()


class View(str):
    """The fields that one filter shows of a context, and that context.

    It stays with the record as an attribute, for filters that come later. As text it is empty, so
    that code which writes or pickles all attributes adds nothing.
    """

    __slots__ = ("chosen", "context", "fields", "linked", "names", "pairs")

    context: Context
    fields: Mapping[str, Any]
    names: frozenset[str]
    """Those of the fields."""
    pairs: tuple[tuple[str, Any], ...]
    """The fields."""
    linked: Sequence[Assignment]
    """The values of linked ContextVars while the context is active."""
    chosen: object
    """The declarations, and names that this process chose, with which the view was made."""

    @staticmethod
    def of(
        context: Context,
        fields: Mapping[str, Any],
        linked: Sequence[Assignment] = (),
        chosen: object = None,
    ) -> "View":
        """Return a view of these `fields`."""
        view = View()
        view.context = context
        view.fields = fields
        view.names = frozenset(fields)
        view.pairs = tuple(fields.items())
        view.linked = linked
        view.chosen = chosen
        return view

    def beside(self, held: Container[str]) -> "View":
        """Return a view of the fields whose names `held` does not have."""
        return View.of(self.context, {n: v for n, v in self.fields.items() if n not in held})

    def __reduce__(self) -> tuple[Any, ...]:
        return str, ()


NO_VIEW: Final = View.of(EMPTY, {})
"""In place of one that is not made yet: made with declarations that never count."""


class Fields:
    """The fields that a context gives to a log record, by one choice of names and redaction."""

    __slots__ = (
        "_attribute",
        "_local_too",
        "_prefix",
        "_redacts",
        "_reserved",
        "_shows",
        "_trusts",
    )

    def __init__(
        self,
        names: Iterable[str] | None,
        prefix: str,
        redact: Iterable[str],
        reserved: frozenset[str] = frozenset(),
        attribute: str | None = None,
    ) -> None:
        check_text("prefix", prefix)
        # A local value may be a secret, or of a type that no log can show: by request only.
        self._local_too = names is not None
        self._shows = name_filter("names", names)
        self._prefix = prefix
        self._redacts = name_filter("redact", checked_entries("redact", redact, NAMES_MEANT))
        self._reserved = reserved if attribute is None else frozenset[str]()
        self._attribute = attribute
        # Names that the application chose, or that have a separate place, can do no harm.
        self._trusts = names is not None or bool(prefix) or attribute is not None

    def of(self, context: Context) -> View:
        """Return the view of `context`: made once, and kept with it."""
        known: View = context.shown.get(self, NO_VIEW)
        chosen = registry.undeclared  # as it is before anything is looked up
        if known.chosen is chosen:
            return known
        linked = linked_vars.assignments(context.by_name)
        # Of an equal context, not this one: a view kept by its own context would be a cycle.
        view = View.of(context | EMPTY, self._made_of(context), linked, chosen)
        keep_shown(context, self, view)
        return view

    def show_active(self, held: MutableMapping[str, Any]) -> View:
        """Put the fields of the active context into `held`, as `show` does, and return the view."""
        # Read directly: for each log line, a call takes longer than this.
        store = active_store()
        version = store.later or store
        context = version.context if version.later is None else last_version(version).context
        view: View = context.shown.get(self, NO_VIEW)
        if view.chosen is not registry.undeclared:
            view = self.of(context)
        for read, absent, value in view.linked:
            if read(absent) is not value:  # somebody has set it since
                view = self.of(store.now())
        if not view.names.isdisjoint(held):
            view = view.beside(held)
        held.update(view.fields)
        return view

    def _made_of(self, context: Context) -> dict[str, Any]:
        own: dict[str, Any] = {}
        strange: dict[str, Any] = {}
        for name, shown in self._shown_of(context).items():
            field = self._prefix + name
            if field not in self._reserved and (self._trusts or _is_ours(name, context)):
                own[field] = shown
            else:
                strange[_OWN_PLACE + field] = shown
        # In this order: a stranger may send a name below `context.` that is one of our own.
        fields = {**strange, **own}
        return fields if self._attribute is None else {self._attribute: InOne(fields)}

    def _shown_of(self, context: Context) -> dict[str, Any]:
        values = context if self._local_too else context.propagated()
        shown = filter(self._shows, values)
        return {name: REDACTED if self._redacts(name) else values[name] for name in shown}


def _is_ours(name: str, context: Context) -> bool:
    """Tell whether this process chose the name, not the sender of the value."""
    return name not in context.unsigned or name in registry.declarations or name in registry.named


class InOne(dict[str, Any]):
    """Fields in one attribute: a mapping, and as text one line that nothing in it can break."""

    __slots__ = ()

    def __str__(self) -> str:
        return " ".join([f"{name}={_text(value)}" for name, value in self.items()])


def _text(value: object) -> str:
    try:
        text = str(value)
        if " " in text or not text.isprintable():  # a space would look like the next field
            shown = repr(value)
            text = shown if shown.isprintable() else repr(text)
    except Exception:  # noqa: BLE001 - a local value's own code may raise anything
        return f"<{type_name(type(value))}>"
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "..."


def context_of(record: logging.LogRecord) -> Context:
    """Return the context in which `record` was logged.

    It belongs to the record from the first `ContextFilter` on; before that it is the active one.
    """
    known = view_in(record)
    return current() if known is None else known.context


def view_in(record: logging.LogRecord) -> View | None:
    """Return the view that a `ContextFilter` of this process left in `record`, if any."""
    known = getattr(record, MARK, None)
    return known if isinstance(known, View) else None


def show(held: MutableMapping[str, Any], view: View) -> View:
    """Put the fields of a view into `held`, and return a view of those that were put.

    Names that are taken stay as they are.
    """
    put = view.beside(held)
    held.update(put.fields)
    return put


def take_back(held: MutableMapping[str, Any], view: View) -> None:
    """Remove the fields that were put into `held`, but for those that have another value by now."""
    for name, value in view.fields.items():
        if held.get(name, _ABSENT) is value:
            del held[name]
