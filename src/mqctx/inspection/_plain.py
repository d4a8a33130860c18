"""Values of headers as JSON can say them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from math import isfinite
from typing import Any, Final, TypeVar

from mqctx.inspection._moments import moment

__all__ = ["known", "name_shown", "plain", "text_or_none"]

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Return what a table of headers holds, made of JSON alone."""
    return _PLAIN.get(value.__class__, str)(value)


def _same(value: T) -> T:
    return value


def _table(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: plain(value) for key, value in table.items()}


def _list(values: list[Any]) -> list[Any]:
    return [*map(plain, values)]


def _bytes(value: bytes) -> str:
    return value.decode(errors="backslashreplace")  # streams hand out text as bytes


def _float(value: float) -> float | str:
    return value if isfinite(value) else str(value)  # JSON has no NaN


_PLAIN: Final[Mapping[type, Callable[[Any], Any]]] = {
    **dict.fromkeys((str, bool, int, type(None)), _same),
    dict: _table,
    list: _list,
    bytes: _bytes,
    float: _float,
    datetime: moment,
}


def name_shown(name: str) -> str:
    """Return a name of an exchange or a routing key, whose bytes need not be UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def text_or_none(value: object) -> str | None:
    """Return a value if it is text, None for any other."""
    return value if isinstance(value, str) else None


def known(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table tells: all of it but what is None."""
    return {key: value for key, value in table.items() if value is not None}
