"""JSON that may stand in an HTML page, whatever a stranger has put into it."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import cast

# JSON.parse knows no NaN, and rounds whole numbers beyond 2**53. Strings are matched to be passed.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN|(?<![\d.])-?\d{16,}(?![\d.e])')
_HAS_TOKEN = re.compile(r"Infinity|NaN|\d{16}")


def encoded(item: Mapping[str, object]) -> str:
    """Return the object as ASCII JSON without `<`, in numbers that a browser keeps exactly.

    Numbers that JavaScript cannot hold become strings, and bytes base64. An object nested too
    deeply for JSON keeps the parts that are not.
    """
    try:
        text = _dumped(item)
    except RecursionError:
        text = _dumped({name: _shallow(value) for name, value in item.items()})
    # So that no text of a message can end the script element that it stands in.
    return text.replace("<", "\\u003c")


def _dumped(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"), default=_told)
    return _TOKEN.sub(_exact, text) if _HAS_TOKEN.search(text) else text


def _told(value: object) -> str:
    return b64encode(value).decode() if isinstance(value, bytes) else repr(value)


def _exact(token: re.Match[str]) -> str:
    text = token[0]
    return text if text[0] == '"' else f'"{text}"'


def _shallow(value: object) -> object:
    if isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        return {name: _part(part) for name, part in table.items()}
    return _part(value)


def _part(value: object) -> object:
    try:
        _dumped(value)
    except RecursionError:
        return "(nested too deeply to show)"
    return value
