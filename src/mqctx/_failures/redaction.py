"""Redact as much text as is shown, and let no secret appear because it was cut in two."""

from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from operator import eq
from typing import Final, TypeAlias, cast

from mqctx._core.values import JSONValue, type_name
from mqctx._failures.cutting import cut, json_bytes
from mqctx.formats.json import to_json

Redact: TypeAlias = Callable[[str], str]

_SPARE: Final = 4
"""How many times the text that is shown is read: what is hidden makes room for more."""
_MARGIN: Final = 512
"""How long a secret may be that is known by its end only, as a card number is."""
_LONG: Final = 1024


def redacted(text: str, redact: Redact, most: int) -> str:
    """Return the beginning of `text`, redacted, in `most` bytes of ASCII JSON."""
    window = _SPARE * most
    if len(text) <= window:
        return cut(_safely(redact, text), most)
    # Redacted at two places of the cut, it agrees until the first secret that one of them broke.
    short, long = (_safely(redact, text[:end]) for end in (window, window + _MARGIN))
    agreed = sum(takewhile(bool, map(eq, short, long)))
    return cut(f"{short[:agreed]}...", most)


def redacted_end(parts: Iterable[str], redact: Redact, most: int) -> str:
    """Return the end of all parts together, redacted, in `most` bytes of ASCII JSON.

    Of a part that is longer than a line, only the beginning counts.
    """
    text = "".join(_shortened(part, redact) for part in parts)
    if len(text) > 2 * most:
        text = text[-2 * most :].partition("\n")[2]
    return cut(_safely(redact, text), most, keep_end=True)


def _shortened(part: str, redact: Redact) -> str:
    return part if len(part) <= _LONG else redacted(part, redact, _LONG) + "\n"


def redacted_values(
    values: Mapping[str, JSONValue], redact: Redact, most: int
) -> dict[str, JSONValue]:
    """Return the values that fit into `most` bytes of ASCII JSON, redacted as `name=value`."""
    shown: dict[str, JSONValue] = {}
    room = most - len("{}")
    for name, value in values.items():
        size = json_bytes(name) + len('"":,')
        if _is_larger(value, room - size):
            continue
        hidden = _hidden(name, value, redact)
        size += len(to_json(hidden))
        if size <= room:
            shown[name] = hidden
            room -= size
    return shown


def _is_larger(value: JSONValue, most: int) -> bool:
    """Tell whether a value takes more than `most` bytes, mostly without writing it as JSON."""
    return (isinstance(value, str) and len(value) > most) or len(to_json(value)) > most


def _hidden(name: str, value: JSONValue, redact: Redact) -> JSONValue:
    """Return a value with what is secret in it replaced."""
    if isinstance(value, list):
        return [_hidden(name, item, redact) for item in value]
    if isinstance(value, dict):
        return {key: _hidden(key, item, redact) for key, item in value.items()}
    return _hidden_scalar(name, value, redact)


def _hidden_scalar(name: str, value: JSONValue, redact: Redact) -> JSONValue:
    start = f"{name}="
    text = start + (value if isinstance(value, str) else to_json(value))
    shown = _safely(redact, text)
    return value if shown == text else shown.removeprefix(start)


def _safely(redact: Redact, text: str) -> str:
    """Return `redact(text)`; nothing of the text if it fails."""
    try:
        shown = cast("object", redact(text))
    except Exception as error:  # noqa: BLE001 - it is the user's; the message must not be lost to it
        return f"(redact raised {type_name(type(error))})"
    return shown if isinstance(shown, str) else f"(redact returned {type_name(type(shown))})"
