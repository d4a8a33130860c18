"""Write values in all formats of a propagator, within its limit."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from mqctx._core.rejection import Rejection, Report
from mqctx._core.values import JSONValue, escape
from mqctx.errors import OversizeError
from mqctx.formats._format import Format, header_label

Encoded: TypeAlias = "dict[str, str] | PerMessageHeaders"
"""The headers of a context: `copy` gives those of one message."""


class PerMessageHeaders:
    """Headers of which some differ with each message."""

    def __init__(
        self, headers: dict[str, str], each_message: Sequence[Callable[[], Mapping[str, str]]]
    ) -> None:
        self._headers = headers
        self._each_message = each_message

    def copy(self) -> dict[str, str]:
        """Return the headers of one message."""
        headers = self._headers.copy()
        for write in self._each_message:
            headers.update(write())
        return headers


class HeaderEncoder:
    """What a propagator writes with: its formats, its limit, and what it does with more."""

    def __init__(
        self, formats: Sequence[Format], max_bytes: int, report: Report, *, may_drop: bool
    ) -> None:
        self._formats = formats
        self._owners = {name: each for each in formats for name in each.owned_names}
        self._max_bytes = max_bytes
        self._report = report
        self._may_drop = may_drop

    def write(self, values: Mapping[str, JSONValue]) -> Encoded:
        """Return the headers that carry `values`, or as many of them as fit.

        Raises:
            OversizeError: they do not fit, and none may be dropped.
        """
        values, encoded = self._with_room(values)
        size = _size(encoded)
        if size <= self._max_bytes:
            return encoded
        if not self._may_drop:
            raise OversizeError(self._advice(values, size))
        return self._trim({**values}, encoded)

    def _write(self, values: Mapping[str, JSONValue]) -> Encoded:
        owners = self._owners
        headers: dict[str, str] = {}
        each_message: list[Callable[[], Mapping[str, str]]] = []
        for format in self._formats:
            own = values
            if owners:
                own = {name: values[name] for name in values if owners.get(name, format) is format}
            written = format.encode(own)
            if callable(written):
                each_message.append(written)
            else:
                headers.update(written)
        return PerMessageHeaders(headers, each_message) if each_message else headers

    def _with_room(
        self, values: Mapping[str, JSONValue]
    ) -> tuple[Mapping[str, JSONValue], Encoded]:
        """Write; drop whole values until each format has room for the rest, by its own limits."""
        while True:
            try:
                return values, self._write(values)
            except OversizeError as error:
                too_many = [name for name in error.names if name in values]
                if not self._may_drop or not too_many:
                    raise
                values = {**values}
                for name in too_many:
                    self._drop(values, name, escape(str(error)))

    def _trim(self, values: dict[str, JSONValue], encoded: Encoded) -> Encoded:
        """Drop whole values, the largest first, until the rest fits in `max_bytes`."""
        sizes = self._sizes(values)
        while (excess := _size(encoded) - self._max_bytes) > 0:
            if not values:
                self._tell(None, f"not even without values does it fit in {self._max_bytes} bytes")
                return {}
            while values and excess > 0:
                name = max(values, key=sizes.__getitem__)
                excess -= sizes[name]
                detail = f"{sizes[name]} bytes; all must fit in max_bytes, {self._max_bytes}"
                self._drop(values, name, detail)
            encoded = self._write(values)
        return encoded

    def _drop(self, values: dict[str, JSONValue], name: str, detail: str) -> None:
        del values[name]
        self._tell(name, detail)

    def _tell(self, name: str | None, detail: str) -> None:
        self._report(Rejection("inject", header_label(self._formats[0]), name, "too-large", detail))

    def _sizes(self, values: Mapping[str, JSONValue]) -> dict[str, int]:
        least = _size(self._write({}))
        return {n: _size(self._write({n: value})) - least for n, value in values.items()}

    def _advice(self, values: Mapping[str, JSONValue], size: int) -> str:
        sizes = self._sizes(values) or {"": 0}
        largest = max(sizes, key=sizes.__getitem__)
        return (
            f"the context takes {size} bytes of headers, max_bytes is {self._max_bytes}; the "
            f"largest value is {largest!r} with {sizes[largest]} bytes: keep it out with "
            "Variable(..., local=True) or send=[...], raise max_bytes, or set on_oversize='drop'"
        )


def _size(encoded: Encoded) -> int:
    headers = encoded.copy()
    return sum(map(len, headers)) + sum(map(len, headers.values()))
