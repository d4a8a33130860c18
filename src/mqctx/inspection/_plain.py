"""Values of headers as JSON can say them."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Any, Final, cast

from mqctx._amqp.field_table import Unreadable
from mqctx.inspection._moments import moment

__all__ = ["plain"]

_JSON: Final = frozenset((str, bool, int, type(None)))


def plain(value: Any) -> Any:
    """Return what a table of headers holds, made of JSON alone."""
    if type(value) in _JSON:
        return value
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {k: v if type(v) in _JSON else plain(v) for k, v in table.items()}
    if isinstance(value, list):
        return [plain(each) for each in cast("list[object]", value)]
    return _scalar(value)


def _scalar(value: bytes | float | datetime | Decimal | Unreadable) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")  # streams hand out text as bytes
    if isinstance(value, float):
        return value if isfinite(value) else str(value)  # JSON has no NaN
    return moment(value) if isinstance(value, datetime) else str(value)
