"""W3C Baggage (https://www.w3.org/TR/baggage/): one header of `key=value` members."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from mqctx._core.registry import registry
from mqctx._core.rejection import Rejection, Report
from mqctx._core.values import JSONValue, UntypedText, escape, is_name, to_plain
from mqctx.errors import OversizeError
from mqctx.formats._format import Headers, as_text, members_of, text_in
from mqctx.formats.json import from_json

__all__ = ["BaggageFormat"]

_HEADER: Final = "baggage"
_OTHERS: Final = "baggage.others"
# W3C Baggage 3.3.2: as much must be propagated by everybody; of more, nobody promises it.
_MAX_MEMBERS: Final = 64
_MAX_BYTES: Final = 8192
_WHITE_SPACE: Final = " \t"
# W3C Baggage 3.3.1: a token (RFC 7230 3.2.6); an equals sign, and a value of baggage-octets.
# No repeat gives back what it took: with an empty value, two repeats of white space meet.
_PAIR = re.compile(
    r"[ \t]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+(?:(=)[ \t]*+([!#-+\--:<-\[\]-~]*+)[ \t]*+)?+"
)
# Written as they are, besides letters and digits. A + could be, but OpenTelemetry for Python reads
# it as a space.
_SAFE = "!#$&'()*-./:<=>?@[]^_`{|}~"
_TYPED: Final = "mqctx=json"


class BaggageFormat:
    """W3C Baggage, for services in any language: one header of `key=value` members.

    Other libraries read the values as text. Between services with mqctx they keep their types:
    any value but a str is JSON with the property `mqctx=json`.

    Members that a context cannot hold, because their keys are no names or because they have
    properties of other vendors, travel on as they came, in the value `baggage.others`. No other
    format writes it; `send` and `accept` know it as `"baggage"`, too.
    """

    __slots__ = ()

    headers: tuple[str, ...] = (_HEADER,)
    header_prefix = None
    owned_names: tuple[str, ...] = (_OTHERS,)
    properties: tuple[str, ...] = ()
    yields_plain_json = False
    verifies = False
    decode_text = None

    def encode(self, values: Mapping[str, JSONValue]) -> Mapping[str, str]:
        """Return the one header that carries `values`, or none if there are no values.

        Raises:
            OversizeError: more than 64 members, or more than 8192 bytes (W3C Baggage 3.3.2).
        """
        _check_others(values.get(_OTHERS))
        members = {n: _written(n, value) for n, value in values.items() if n != _OTHERS}
        _add_others(members, values)
        _check_room(members)
        return {_HEADER: ",".join(members.values())} if members else {}

    def decode(self, headers: Headers, max_bytes: int, report: Report) -> Mapping[str, JSONValue]:
        """Return the values of the first 64 members; leave out text that is no member."""
        text = text_in(headers, _HEADER, max_bytes, report)
        values: dict[str, JSONValue] = {}
        others: dict[str, str] = {}
        for part in _first_members(text or "", report):
            try:
                _take(part, values, others)
            except ValueError as error:
                key = escape(part.partition("=")[0])
                report(Rejection("extract", _HEADER, key, "malformed", escape(str(error))))
        if others:
            values[_OTHERS] = ",".join(others.values())
        return values

    def join(self, ours: str, theirs: object, counting: Collection[str], report: Report) -> str:
        """Return our members and, as far as W3C Baggage has room, those of others.

        If both have a key, ours counts where it is among the names that are `counting`.
        """
        text = as_text(theirs) if isinstance(theirs, str | bytes | bytearray) else ""
        given = members_of(text)
        newer = {*map(_key, given)}.difference(counting)
        members = _without(newer, members_of(ours))
        others = _without({*map(_key, members)}, given)
        fitting = _that_fit(others, members)
        # Those behind the first without room go too: what counts is how the sender ordered them.
        for part in others[len(fitting) : len(fitting) + 1]:
            detail = f"no room beside ours: {_MAX_MEMBERS} members, {_MAX_BYTES} bytes"
            report(Rejection("inject", _HEADER, escape(_key(part)), "too-large", detail))
        return ",".join([*members, *fitting])

    def strip(self, headers: dict[str, Any]) -> None:
        """Remove the header from `headers`, in place."""
        headers.pop(_HEADER, None)

    def __repr__(self) -> str:
        return "BaggageFormat()"


class _Member(NamedTuple):
    """A member, its value still encoded; its properties without white space."""

    key: str
    value: str
    properties: list[str]

    def plain(self) -> JSONValue:
        """Return the value; raise `ValueError` if it is not the JSON that it should be."""
        text = unquote(self.value, errors="replace")  # U+FFFD for no UTF-8: W3C Baggage 3.3.1.3
        if _TYPED in self.properties:
            return from_json(text)
        # OpenTelemetry for Python passes on properties as a part of the value.
        if text.endswith(f";{_TYPED}"):
            return from_json(text.removesuffix(f";{_TYPED}"))
        return UntypedText(text)


def _written(name: str, value: JSONValue) -> str:
    if isinstance(value, str) and not value.endswith(f";{_TYPED}"):
        return f"{name}={quote(value, safe=_SAFE)}"
    return f"{name}={quote(msgspec.json.encode(value), safe=_SAFE)};{_TYPED}"


def _key(part: str) -> str:
    return part.partition("=")[0].rstrip(_WHITE_SPACE)


def _without(keys: Collection[str], members: list[str]) -> list[str]:
    return [part for part in members if _key(part) not in keys]


def _first_members(text: str, report: Report) -> list[str]:
    """Return the members that are read; report that there are more."""
    parts = members_of(text)
    if len(parts) > _MAX_MEMBERS:
        detail = f"{len(parts)} members, of which {_MAX_MEMBERS} are read"
        report(Rejection("extract", _HEADER, None, "too-large", detail))
    return parts[:_MAX_MEMBERS]


def _parse(part: str) -> _Member:
    """Return a member; raise `ValueError` if it is malformed."""
    pieces = part.split(";")
    pairs = [pair.groups("") for pair in filter(None, map(_PAIR.fullmatch, pieces))]
    if len(pairs) < len(pieces) or not pairs[0][1]:
        raise ValueError(f"not a member as W3C Baggage has it: {part}")
    key, _, value = pairs[0]
    return _Member(key, value, ["".join(pair) for pair in pairs[1:]])


def _take(part: str, values: dict[str, JSONValue], others: dict[str, str]) -> None:
    """Add a member to `values`, `others` or both; raise `ValueError` if it is malformed."""
    member = _parse(part)
    if not _is_name(member.key):
        others[part] = part
        return
    values[member.key] = member.plain()
    if {_TYPED}.issuperset(member.properties):
        others.pop(member.key, None)  # of repeated keys the last one counts
    else:
        others[member.key] = part


def _members(text: JSONValue) -> list[tuple[str, _Member]]:
    """Return each member in a text, as it stands there and parsed; leave out all else."""
    found: list[tuple[str, _Member]] = []
    for part in members_of(text)[:_MAX_MEMBERS] if isinstance(text, str) else ():
        try:
            found.append((part, _parse(part)))
        except ValueError:
            continue  # set by hand, or by another format
    return found


def _add_others(members: dict[str, str], values: Mapping[str, JSONValue]) -> None:
    """Add the members of others as they came, unless the context has another value since."""
    others: list[str] = []
    for text, member in _members(values.get(_OTHERS)):
        if not _is_name(member.key):
            others.append(text)
        elif member.key in members and _says(member, values[member.key]):
            members[member.key] = text
    if others:
        members[_OTHERS] = ",".join(others)


def _is_name(key: str) -> bool:
    """Tell whether a value in the context can have that name."""
    return key != _OTHERS and is_name(key)


def _says(member: _Member, value: JSONValue) -> bool:
    """Tell whether the context still has the value that a member brought."""
    declaration = registry.declarations.get(member.key)
    try:
        brought = member.plain()
        plain = to_plain(member.key, brought)
        if declaration is not None:
            restored = declaration.restore(plain, lax=isinstance(brought, UntypedText))
            plain = declaration.to_plain(restored)
    except Exception:  # noqa: BLE001 - a declared type's own code may raise anything
        return False
    return _written(member.key, plain) == _written(member.key, value)


def _that_fit(parts: list[str], members: list[str]) -> list[str]:
    """Return the first of `parts`, as many as W3C Baggage has room for beside `members`."""
    parts = parts[: max(_MAX_MEMBERS - len(members), 0)]
    room = _MAX_BYTES - sum(map(_with_comma, members)) + 1  # no comma before the first
    for count, part in enumerate(parts):
        room -= _with_comma(part)
        if room < 0:
            return parts[:count]
    return parts


def _with_comma(part: str) -> int:
    return len(part.encode(errors="surrogatepass")) + 1


def _check_others(text: JSONValue) -> None:
    """Raise `OversizeError` if what others wrote is too long to be worth the time to parse it."""
    if isinstance(text, str) and len(text) > _MAX_BYTES:
        message = f"members of others in {len(text)} bytes, the limit for all is {_MAX_BYTES}"
        raise OversizeError(message, [_OTHERS])


def _check_room(members: Mapping[str, str]) -> None:
    """Raise `OversizeError` if there are too many members, naming the largest values."""
    written = ",".join(members.values())
    count, size = written.count(",") + 1, len(written)
    message = (
        f"{count} members of W3C Baggage in {size} bytes, the limits are {_MAX_MEMBERS} and "
        f"{_MAX_BYTES}: keep values out with Variable(..., local=True) or send=[...], "
        "or set on_oversize='drop'"
    )
    names: list[str] = []
    for name in sorted(members, key=lambda name: len(members[name]), reverse=True):
        if count <= _MAX_MEMBERS and size <= _MAX_BYTES:
            break
        names.append(name)
        count -= members[name].count(",") + 1
        size -= len(members[name]) + 1
    if names:
        raise OversizeError(message, names)
