"""Write values in all formats of a propagator, within its limit."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from mqctx._core.rejection import Rejection, Report
from mqctx._core.values import JSONValue, escape
from mqctx.errors import OversizeError
from mqctx.formats._format import Format, header_label, header_size

Encoded: TypeAlias = "dict[str, str] | PerMessageHeaders"
"""The headers of a context: `copy` gives those of one message."""


class PerMessageHeaders:
    """Headers of which some differ with each message."""

    def __init__(
        self,
        headers: dict[str, str],
        each_message: Sequence[Callable[[int], Mapping[str, str]]],
        max_bytes: int,
    ) -> None:
        self._headers = headers
        # A format that fills the room it is given must leave the others theirs, in any order.
        # Given no room at all, it writes the least that it ever does.
        self._each_message = [(write, _size(write(0))) for write in each_message]
        self._spare = max_bytes - _size(headers) - sum(least for _, least in self._each_message)

    def copy(self) -> dict[str, str]:
        """Return the headers of one message."""
        headers, spare = self._headers.copy(), self._spare
        for write, least in self._each_message:
            written = write(spare + least)
            spare -= _size(written) - least
            headers.update(written)
        return headers


class HeaderEncoder:
    """Write values in all formats of a propagator, within its limit."""

    def __init__(
        self,
        formats: Sequence[Format],
        max_bytes: int,
        report: Report,
        unsigned: Collection[str] = (),
    ) -> None:
        """Keep `unsigned` names out of the formats that verify."""
        self._formats = formats
        owners = {name: each for each in formats for name in each.owned_names}
        self._left_out = [_left_out_of(each, owners, unsigned) for each in formats]
        self._max_bytes = max_bytes
        self._report = report

    def encode(
        self, values: Mapping[str, JSONValue], brought: Collection[str] = (), *, trim: bool = False
    ) -> Encoded:
        """Return the headers that carry `values`, or as many of them as fit.

        Values that a message `brought` are dropped first, and those set in this process only with
        `trim`: the largest first, each with a rejection.

        Raises:
            OversizeError: the values set in this process alone do not fit, and `trim` is off.
        """
        encoded, surplus = self._try(values)
        if surplus is None:
            return encoded
        # Values set here come first: nothing that a message brought may push them out.
        ours = _without(brought, values)
        theirs = _without(ours, values)
        if trim:
            ours = self._reduced(ours, ours)
        else:
            self._check_fits(ours)
        return self._encode_reduced(self._reduced({**ours, **theirs}, theirs))

    def _encode_reduced(self, values: Mapping[str, JSONValue]) -> Encoded:
        encoded, surplus = self._try(values)
        if surplus is not None:
            # Formats may write something without any value (a `traceparent`), and `max_bytes` may
            # be 1.
            self._reject(None, f"not even without values: {surplus.detail}")
        return encoded

    def _check_fits(self, values: Mapping[str, JSONValue]) -> None:
        """Raise `OversizeError` if these values alone do not fit."""
        if surplus := self._try(values)[1]:
            raise surplus.error or OversizeError(self._advice(values, surplus.bytes))

    def _write(self, values: Mapping[str, JSONValue]) -> Encoded:
        headers: dict[str, str] = {}
        each_message: list[Callable[[int], Mapping[str, str]]] = []
        for format, left_out in zip(self._formats, self._left_out, strict=True):
            written = format.encode(_without(left_out, values) if left_out else values)
            if callable(written):
                each_message.append(written)
            else:
                headers.update(written)
        # A dict where it can be one: it is copied for each message, and by C.
        if each_message:
            return PerMessageHeaders(headers, each_message, self._max_bytes)
        return headers

    def _try(self, values: Mapping[str, JSONValue]) -> "tuple[Encoded, _Surplus | None]":
        """Return the headers that carry `values`, and by how much they are too large."""
        try:
            encoded = self._write(values)
        except OversizeError as error:
            return {}, _Surplus(escape(str(error)), error=error)
        excess = _size(encoded.copy()) - self._max_bytes
        if excess <= 0:
            return encoded, None
        return {}, _Surplus(f"all must fit in max_bytes, {self._max_bytes}", excess)

    def _reduced(
        self, values: Mapping[str, JSONValue], droppable: Iterable[str]
    ) -> dict[str, JSONValue]:
        """Return `values` without those of the `droppable` that must go for the rest to fit."""
        kept = {**values}
        sizes = self._sizes({name: values[name] for name in droppable})
        # Tried anew each time: what a value takes depends on the others (commas, framing).
        while sizes and (surplus := self._try(kept)[1]):
            self._drop(kept, sizes, surplus)
        return kept

    def _drop(self, kept: dict[str, JSONValue], sizes: dict[str, int], surplus: "_Surplus") -> None:
        for name in surplus.dropped_from(sizes):
            del kept[name]
            self._reject(name, f"{sizes.pop(name)} bytes; {surplus.detail}")

    def _sizes(self, values: Mapping[str, JSONValue]) -> dict[str, int]:
        """Return how many bytes each of `values` takes, the largest last."""
        # A format may write something without any value, such as a `traceparent`.
        least = _size(self._write({}).copy())
        sizes = {name: self._size_alone(name, value) - least for name, value in values.items()}
        return dict(sorted(sizes.items(), key=itemgetter(1)))

    def _size_alone(self, name: str, value: JSONValue) -> int:
        try:
            return _size(self._write({name: value}).copy())
        except OversizeError:
            return self._max_bytes  # a format has no room for it

    def _advice(self, values: Mapping[str, JSONValue], excess: int) -> str:
        name, size = next(reversed((self._sizes(values) or {"": 0}).items()))
        return (
            f"the context takes {self._max_bytes + excess} bytes of headers, max_bytes is "
            f"{self._max_bytes}; the largest value is {name!r} with {size} bytes: keep it out with "
            "Variable(..., local=True) or send=[...], raise max_bytes, or set on_oversize='drop'"
        )

    def _reject(self, name: str | None, detail: str) -> None:
        self._report(Rejection("inject", header_label(self._formats[0]), name, "too-large", detail))


class _Surplus(NamedTuple):
    """The reason why values do not fit: too many bytes, or a format without room for them."""

    detail: str
    bytes: int = 0
    error: OversizeError | None = None

    def dropped_from(self, sizes: dict[str, int]) -> Sequence[str]:
        """Return the names to drop, out of those with `sizes`, which grow."""
        names = self.error.names if self.error else ()
        if names and sizes.keys() >= {*names}:
            return names
        # The cause may be a value that must stay.
        return _largest(sizes, max(len(names), 1), self.bytes)


def _largest(sizes: dict[str, int], least: int, excess: int) -> Sequence[str]:
    """Return the names of the largest values: `least` of them, or more, to cover the `excess`."""
    largest: list[str] = []
    for name, size in reversed(sizes.items()):
        if len(largest) >= least and excess <= 0:
            break
        largest.append(name)
        excess -= size
    return largest


def _left_out_of(
    format: Format, owners: Mapping[str, Format], unsigned: Collection[str]
) -> Collection[str]:
    """Return the names that a format does not write: another owns them, or it would sign them."""
    foreign = {name for name, owner in owners.items() if owner is not format}
    return foreign.union(unsigned) if format.verifies else foreign


def _without(names: Collection[str], values: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    return {name: value for name, value in values.items() if name not in names}


def _size(headers: Mapping[str, str]) -> int:
    return sum(header_size(header, text) for header, text in headers.items())
