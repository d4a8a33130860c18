"""Write the active context into headers, and keep members that others wrote there."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mqctx._core.context import Context
from mqctx._core.name_filter import name_filter
from mqctx._core.registry import registry
from mqctx._core.rejection import Rejection, Report
from mqctx._core.runs import note_published
from mqctx._core.store import active_store, current
from mqctx._core.values import JSONValue, as_plain, escape, type_name
from mqctx._propagation.decoder import MAPPINGS, is_mapping
from mqctx._propagation.encoder import Encoded, HeaderEncoder
from mqctx._propagation.properties import SetProperty
from mqctx._propagation.settings import Settings
from mqctx.errors import HeadersError, InvalidValueError, MqctxError
from mqctx.formats._format import Format, Headers, Join, header_label


class HeaderInjector:
    """Inject the active context: the values that may leave, in all formats."""

    __slots__ = (
        *("_encoder", "_joins", "_may_leave", "_report", "_settings", "_strips", "_verifies"),
    )

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._report = report
        self._may_leave = name_filter("send", settings.send, settings.names_of_headers)
        self._encoder = HeaderEncoder(settings.formats, settings.max_bytes, report)
        self._verifies = any(each.verifies for each in settings.formats)
        self._strips = [each.strip for each in settings.formats]
        self._joins = _joins(settings.formats)

    def inject(
        self,
        headers: Headers | None,
        _message: object,
        _set_property: SetProperty,
        /,
        trim: bool = False,
    ) -> dict[str, Any]:
        """Return `headers` with the active context, as `Propagator.inject` says."""
        if headers:
            return self._inject_beside(headers, trim)
        # As `current()` does, without a call for each message.
        store = active_store()
        context = store.context if store.later is None and not registry.linked else store.now()
        encoded: Encoded
        by, among, encoded = context.encoded
        # Another propagator writes it in another way, and so may a name that was declared since.
        if by is not self or among is not registry.undeclared:
            encoded = self._encode(context, trim)
        written = encoded.copy()  # the caller may change what it gets
        if registry.report is not None:
            note_published(written)
        return written

    def _inject_beside(self, headers: Headers, trim: bool) -> dict[str, Any]:
        """Return `headers` with the active context in place of any that they carry."""
        if not isinstance(headers, MAPPINGS):
            raise HeadersError(f"headers: expected a mapping, got {type_name(type(headers))}")
        injected = dict(headers)
        # A message that is published on must not keep its old context beside the new one.
        for strip in self._strips:
            strip(injected)
        # Fewer than before: they carry a context, and a script that sends the message on has none
        # to put in its place.
        if len(injected) < len(headers) and not active_store().active:
            return dict(headers)
        injected |= self.inject(None, None, setattr, trim)
        return self._join(injected, headers) if self._joins else injected

    def _encode(self, context: Context, trim: bool) -> Encoded:
        """Return the headers of `context`, and remember them unless this call trimmed them."""
        declared = registry.undeclared  # as it is before anything is looked up
        brought = frozenset([*context.unsigned, *context.signed])
        encoder = self._encoder_without(context.unsigned) if self._verifies else self._encoder
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

    def _encoder_without(self, unsigned: Collection[str]) -> HeaderEncoder:
        """Return an encoder whose formats sign none of the values that were read `unsigned`."""
        if unsigned:
            formats, max_bytes = self._settings.formats, self._settings.max_bytes
            return HeaderEncoder(formats, max_bytes, self._report, unsigned)
        return self._encoder

    def _join(self, injected: dict[str, Any], given: Headers) -> dict[str, Any]:
        """Keep members of others in our headers, unless the message being handled brought them."""
        handled: Any = active_store().headers
        old: Mapping[Any, Any] = handled if is_mapping(handled) else {}
        for header, join in self._joins:
            theirs = given.get(header)
            # The same text as the handled message had: what is in it, our context has already.
            if theirs not in (None, old.get(header)):
                ours = injected.get(header, "")
                joined = join(ours, theirs, _chosen_here(current()), self._report)
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
        if self._leave_as_they_are(values):
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

    def _leave_as_they_are(self, values: Mapping[str, Any]) -> bool:
        """Tell whether all values may leave, and are plain JSON, without a look at each."""
        # Undeclared ones were checked when they were set; a linked ContextVar may hold anything.
        are_plain = not registry.linked and registry.undeclared.issuperset(values)
        return are_plain and self._settings.send is None


def _joins(formats: Sequence[Format]) -> list[tuple[str, Join]]:
    """Return the headers in which others write, too, each with what joins their text and ours."""
    return [(header, each.join) for each in formats if each.join for header in each.headers]


def _chosen_here(context: Context) -> set[str]:
    """Return the names of the values, but those that the sender of an unsigned one alone chose."""
    strange = {*context.unsigned} - registry.declarations.keys() - registry.named
    return context.keys() - strange
