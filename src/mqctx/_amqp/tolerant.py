"""Read the properties of messages that a client cannot decode, and would close over."""

from typing import Any, cast

from mqctx._amqp.content_header import ContentHeader
from mqctx._amqp.field_table import Unreadable


def readable_properties(raw: bytes) -> dict[str, Any]:
    """Return the properties by name, those that can be read.

    In the headers, what cannot be read is the text that describes it.
    """
    header = ContentHeader(raw)
    found = {name: header.get(name) for name in header.names}
    if "headers" in found:
        found["headers"] = _as_text(found["headers"])
    # A client's own class for properties takes a timestamp or nothing, but no description of one.
    return {name: value for name, value in found.items() if not isinstance(value, Unreadable)}


def _as_text(value: Any) -> Any:
    match value:
        case Unreadable():
            return str(value)
        case dict():
            return {key: _as_text(each) for key, each in cast("dict[str, object]", value).items()}
        case list():
            return [*map(_as_text, cast("list[object]", value))]
        case _:
            return value
