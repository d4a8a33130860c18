"""Values of headers as JSON can say them."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Any, cast

from mqctx._amqp.field_table import Unreadable
from mqctx.inspection._moments import moment

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Return what a table of headers holds, made of JSON alone."""
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, Mapping):
        return {k: plain(each) for k, each in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [plain(each) for each in cast("list[object]", value)]
    return _scalar(value)


def _scalar(value: bytes | float | datetime | Decimal | Unreadable) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")  # streams hand out text as bytes
    if isinstance(value, float):
        return value if isfinite(value) else str(value)  # JSON has no NaN
    return moment(value) if isinstance(value, datetime) else str(value)
