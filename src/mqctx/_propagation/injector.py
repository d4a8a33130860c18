"""Write the active context into headers, and keep members that others wrote there."""

from collections.abc import Mapping
from typing import Any

from mqctx._core.context import Context
from mqctx._core.name_filter import name_filter
from mqctx._core.registry import registry
from mqctx._core.rejection import Rejection, Report
from mqctx._core.runs import note_published
from mqctx._core.store import active_store
from mqctx._core.values import JSONValue, as_plain, escape, type_name
from mqctx._propagation.decoder import is_mapping
from mqctx._propagation.encoder import Encoded, HeaderEncoder
from mqctx._propagation.properties import SetProperty
from mqctx._propagation.settings import Settings
from mqctx.errors import HeadersError, InvalidValueError, MqctxError
from mqctx.formats._format import Headers, header_label


class HeaderInjector:
    """Inject the active context: the values that may leave, in all formats."""

    __slots__ = ("_encoder", "_joins", "_may_leave", "_report", "_settings", "_verifies")

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._report = report
        self._may_leave = name_filter("send", settings.send, settings.names_of_headers)
        self._encoder = HeaderEncoder(settings.formats, settings.max_bytes, report)
        self._verifies = any(each.verifies for each in settings.formats)
        self._joins = [
            (h, each.join) for each in settings.formats if each.join for h in each.headers
        ]

    def inject(
        self,
        headers: Headers | None,
        _message: object,
        _set_property: SetProperty,
        /,
        *,
        trim: bool = False,
    ) -> dict[str, Any]:
        """Return `headers` with the active context, as `Propagator.inject` says."""
        store, injected = active_store(), None
        if headers:
            if not isinstance(headers, dict) and not is_mapping(headers):
                raise HeadersError(f"headers: expected a mapping, got {type_name(type(headers))}")
            injected = dict(headers)
            # A message that is published on must not keep its old context beside the new one.
            for format in self._settings.formats:
                format.strip(injected)
            # Fewer than before: they carry a context, and a script that sends the message on
            # has none to put in its place.
            if not store.active and len(injected) < len(headers):
                return dict(headers)
        usual = store.later is None and not registry.linked
        context = store.context if usual else store.now()
        known = context.encoded
        # Another propagator writes it in another way, and so may a name that was declared since.
        if known and known[0] is self and known[1] is registry.undeclared:
            encoded: Encoded = known[2]
        else:
            encoded = self._encode(context, trim)
        written = encoded.copy()  # the caller may change what it gets
        if registry.report is not None:
            note_published(written)
        if injected is None or not headers:
            return written
        injected.update(written)
        return self._join(injected, headers, store.headers, context) if self._joins else injected

    def _encode(self, context: Context, trim: bool) -> Encoded:
        """Return the headers of `context`, and remember them unless this call trimmed them."""
        declared = registry.undeclared  # as it is before anything is looked up
        unsigned, brought = context.unsigned, frozenset([*context.unsigned, *context.signed])
        encoder = self._encoder
        # Rare, and once for a context: whoever signs must know what to leave out.
        if unsigned and self._verifies:
            encoder = HeaderEncoder(
                self._settings.formats, self._settings.max_bytes, self._report, unsigned
            )
        try:
            values = self._plain(context)
            encoded = encoder.encode(values, brought, trim=self._settings.on_oversize == "drop")
        except MqctxError:
            if not trim:
                raise
            return encoder.encode(self._plain(context, trim=True), brought, trim=True)
        # After no error only: what one call trims, another one may have to raise about.
        context.encoded = (self, declared, encoded)
        return encoded

    def _join(
        self, injected: dict[str, Any], given: Headers, handled: Any, context: Context
    ) -> dict[str, Any]:
        """Keep members of others in our headers, unless the message being handled brought them."""
        old: Mapping[Any, Any] = handled if is_mapping(handled) else {}
        for header, join in self._joins:
            theirs = given.get(header)
            # The same text as the handled message had: what is in it, our context has already.
            if theirs is not None and old.get(header) != theirs:
                ours = injected.get(header, "")
                joined = join(ours, theirs, context.keys() - _strange(context), self._report)
                injected |= {header: joined} if joined else {}
        return injected

    def plain(self, context: Context) -> Mapping[str, JSONValue]:
        """Return the values that may leave, as plain JSON; report one that cannot travel."""
        return self._plain(context, trim=True)

    def _plain(self, context: Context, *, trim: bool = False) -> Mapping[str, JSONValue]:
        """Return the values that may leave, as plain JSON.

        With `trim`, a value that cannot travel is left out and reported.
        """
        values = context.propagated()
        if self._settings.send is None and _are_plain(values):
            return values
        plain: dict[str, JSONValue] = {}
        for name in filter(self._may_leave, values):
            try:
                plain[name] = as_plain(name, values[name])
            except InvalidValueError as error:
                if not trim:
                    raise
                label = header_label(self._settings.formats[0])
                self._report(Rejection("inject", label, name, "illegal-value", escape(str(error))))
        return plain


def _are_plain(values: Mapping[str, Any]) -> bool:
    """Tell whether all values are plain JSON for certain, without a look at each."""
    # Undeclared ones were checked when they were set; a linked ContextVar may hold anything.
    return not registry.linked and registry.undeclared.issuperset(values)


def _strange(context: Context) -> set[str]:
    """Return the names that only the sender of an unsigned value chose: those of other vendors."""
    return {*context.unsigned} - registry.declarations.keys() - registry.named
