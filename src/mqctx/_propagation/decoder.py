"""Read the values of all formats of a propagator, and note which are signed."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, TypeGuard, cast

from mqctx._core.context import EMPTY, Context, from_checked
from mqctx._core.name_filter import any_name, name_filter
from mqctx._core.registry import registry
from mqctx._core.rejection import RefusedError, Rejection, Report
from mqctx._core.values import (
    JSONValue,
    UntypedText,
    check_undeclared,
    escape,
    is_settled,
    to_plain,
    type_name,
)
from mqctx._propagation.extractor import CachingExtractor
from mqctx._propagation.properties import Extract, PropertyOf
from mqctx._propagation.settings import Settings
from mqctx.errors import ConfigurationError, InvalidNameError
from mqctx.formats._format import Format, Headers, header_label, size_within

MAPPINGS: Final[tuple[type[Any], ...]] = (dict, Mapping)
"""Types that are read by name. Most are dicts: the abstract class alone takes ten times as long."""

_NameFilter: TypeAlias = Callable[[str], bool]


class _Reader(NamedTuple):
    """A format, and the names that are restored from it."""

    format: Format
    accepts: _NameFilter
    is_exact: bool
    """Whether it yields plain JSON and all names are accepted, so that nothing is checked again."""


class HeaderDecoder:
    """Read headers in all formats of a propagator, as far as they are accepted and fit."""

    def __init__(self, settings: Settings, report: Report) -> None:
        self._readers = _readers(settings)
        self._max_bytes = settings.max_bytes
        self._report = report

    def for_usual_messages(self) -> Extract | None:
        """Return a faster way to read the usual message, None if these formats allow none."""
        reader, *others = self._readers
        format = reader.format
        decode_text = format.decode_text
        # Each of these has to look at more than the text: to merge, to verify, to filter, to check.
        if others or decode_text is None or format.verifies or not reader.is_exact:
            return None
        (header,), restore = format.headers, partial(self._restore, reader)
        limit = self._max_bytes
        return CachingExtractor(header, decode_text, limit, restore, self.extract).extract

    def extract(
        self, headers: Headers | None, _message: object, _property_of: PropertyOf
    ) -> Context:
        """Return the context that `headers` carry. Never raises."""
        if _is_nothing(headers):
            return EMPTY
        if is_mapping(headers):
            return self._merged(headers)
        detail = f"expected headers in a mapping, got {type_name(type(headers))}"
        self._report(Rejection("extract", "headers", None, "wrong-type", detail))
        return EMPTY

    def _merged(self, headers: Headers) -> Context:
        """Return a context of the values that all formats have read."""
        values: dict[str, Any] = {}
        signed: set[str] = set()
        room = self._max_bytes
        for reader in self._readers:
            restored, taken = self._read(reader, headers, room, values)
            # One limit for all headers together: what one format took, the next ones do not have.
            room -= taken
            values.update(restored)
            # If two formats have a name, the word of the one whose value stays counts.
            change_signed = signed.update if reader.format.verifies else signed.difference_update
            change_signed(restored)
        if not values:
            return EMPTY
        # If nothing is signed, the mapping itself is the collection of its names, at no cost.
        unsigned = values.keys() - signed if signed else values
        return from_checked(values, unsigned, signed)

    def _read(
        self, reader: _Reader, headers: Headers, room: int, known: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], int]:
        """Return what a format adds to the `known` values, and how many bytes of `room` it took."""
        format = reader.format
        try:
            decoded = format.decode(headers, room, self._report)
            taken = size_within(room, format, headers)
            # Nothing to merge, to filter, to check or to convert: the format's own dict will do.
            if not known and reader.is_exact and registry.undeclared.issuperset(decoded):
                return decoded, taken
            # A name that a format owns is taken from it even so.
            return self._restore(reader, decoded, known.keys() - {*format.owned_names}), taken
        except Exception as error:  # noqa: BLE001 - a format may be anybody's
            detail = f"{format!r} raised {type_name(type(error))}: {escape(str(error))}"
            self._report(Rejection("extract", header_label(format), None, "error", detail))
            return {}, 0

    def _restore(
        self,
        reader: _Reader,
        decoded: Mapping[str, JSONValue],
        known: Collection[str] = (),
    ) -> dict[str, Any]:
        """Return the values that may be restored and are not `known` from an earlier format."""
        values: dict[str, Any] = {}
        for name, plain in decoded.items():
            if name in known:
                continue
            is_ready = reader.is_exact and is_settled(name, plain)
            try:
                values[name] = plain if is_ready else _restored(name, plain, reader.accepts)
            except RefusedError as refused:
                header, key = header_label(reader.format), escape(str(name))
                self._report(Rejection("extract", header, key, refused.reason, str(refused)))
        return values


def _restored(name: str, plain: JSONValue, accepts: _NameFilter) -> Any:
    """Return a value as the context keeps it; raise `RefusedError` if it may not enter."""
    # The name first: by one of any length and any characters nothing is looked up or remembered.
    _check_name(name, accepts)
    declaration = registry.declarations.get(name)
    if declaration is not None and declaration.local:
        raise RefusedError("local", "its name is declared local in this process")
    try:
        checked = to_plain(name, plain)
        if declaration is None:
            return checked
        # `checked` is a plain str again: only what came tells whether its type was written down.
        return declaration.restore(checked, lax=isinstance(plain, UntypedText))
    except Exception as error:  # noqa: BLE001 - a declared type's own code may raise anything
        raise RefusedError("illegal-value", escape(str(error))) from None


def _check_name(name: str, accepts: _NameFilter) -> None:
    """Raise `RefusedError` if it is no name of a value, or none that is accepted."""
    try:
        check_undeclared(name)
    except InvalidNameError as error:
        raise RefusedError("illegal-name", str(error)) from None
    if not accepts(name):
        raise RefusedError("not-accepted", "its name is not on the accept list")


def _readers(settings: Settings) -> list[_Reader]:
    """Return a reader for each format.

    Raises:
        ConfigurationError: `accept` is text, or names a format that is not among them.
    """
    return [
        _Reader(each, accepts, each.yields_plain_json and accepts is any_name)
        for each, accepts in zip(settings.formats, _filters(settings), strict=True)
    ]


def _filters(settings: Settings) -> list[_NameFilter]:
    """Return for each format which names are restored from it."""
    formats, accept, groups = settings.formats, settings.accept, settings.names_of_headers
    if not isinstance(accept, Mapping):
        return [name_filter("accept", accept, groups)] * len(formats)
    lists = cast("Mapping[Format, Iterable[str] | None]", accept)
    for each in lists:
        _check_among(formats, each)
    return [name_filter("accept", lists.get(each), groups) for each in formats]


def _check_among(formats: Collection[Format], given: Format) -> None:
    """Raise `ConfigurationError` if a list of names is for a format that is not used."""
    if given not in formats:
        raise ConfigurationError(
            f"accept: {given!r} is none of the formats; a mapping has a list of names for "
            "each of some formats, as accept={json_format: ['request_id']}"
        )


def _is_nothing(headers: object) -> bool:
    try:
        return not headers
    except Exception:  # noqa: BLE001 - a foreign object's own code may raise anything
        return False


def is_mapping(headers: object) -> TypeGuard[Headers]:
    """Tell whether `headers` can be read by name."""
    return isinstance(headers, MAPPINGS)
