"""Names and plain values: all that may travel."""

import re
from enum import Enum
from math import isfinite
from typing import Any, TypeAlias, TypeGuard, cast

from mqctx._core.registry import registry
from mqctx.errors import InvalidNameError, InvalidValueError

JSONValue: TypeAlias = "str | int | float | bool | list[JSONValue] | dict[str, JSONValue] | None"


class UntypedText(str):
    """Text that does not show its type: "5" may be meant as a number."""

    __slots__ = ()


MAX_NAME_LENGTH = 64
MAX_DEPTH = 32
# CPython converts at most 4,300 digits between int and str, and a reader would refuse them.
_MAX_INT_BITS = 14_284
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_CANNOT_TRAVEL = (
    "{name}: a value of type {type} cannot travel in a message; "
    "use str, int, float, bool, None, or lists and string-keyed dicts of them, "
    "declare the type with Variable({name!r}, {type}), "
    "or keep it in the process with Variable({name!r}, {type}, local=True)"
)


_MAX_UNDECLARED = 1000
SCALARS = (str, int, bool)
"""Types that JSON has, whose values therefore arrive as they were."""


def is_name(text: object) -> TypeGuard[str]:
    """Tell whether a text can be the name of a value."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def check_name(name: object) -> None:
    """Raise `InvalidNameError` if `name` cannot be the name of a value."""
    if not is_name(name):
        raise InvalidNameError(
            f"{escape(str(name), 80)}: a name starts with a letter or _, goes on with letters, "
            f"digits, _ . or -, all ASCII, and has at most {MAX_NAME_LENGTH} characters"
        )


def check_each(given: dict[str, Any]) -> dict[str, Any]:
    """Make each value what a context keeps; raise a `MqctxError` if it must not be kept."""
    undeclared, texts = registry.undeclared, registry.texts
    for name, value in given.items():
        # The usual values are checked here, for a call of `check` takes longer than its work.
        is_known = name in undeclared or name in texts
        if type(value) is not str or not is_known or not value.isascii():
            given[name] = check(name, value)
    return given


def check(name: str, value: object) -> object:
    """Return `value` as a context keeps it under `name`; raise a `MqctxError` if it must not."""
    if name not in registry.undeclared:
        declaration = registry.declarations.get(name)
        if declaration is not None:
            return declaration.check(value)
        check_undeclared(name)
    return to_plain(name, value)


def check_undeclared(name: str) -> None:
    """Do as `check_name`, and remember a name that is legal and not declared."""
    undeclared = registry.undeclared  # the set from before the look below: see `declare`
    if name in undeclared:
        return
    check_name(name)
    if name not in registry.declarations:
        if len(undeclared) >= _MAX_UNDECLARED:  # strangers may send any number of names
            undeclared.clear()
        undeclared.add(name)


def is_settled(name: str, plain: JSONValue) -> bool:
    """Tell whether a value of an exact JSON type needs no further check: the usual case."""
    declaration = registry.declarations.get(name)
    if declaration is None:
        return name in registry.undeclared
    return type(plain) is declaration.type in SCALARS and not declaration.local


def as_plain(name: str, value: object) -> JSONValue:
    """Return a value of a context as plain JSON; raise `InvalidValueError` if there is none."""
    declaration = registry.declarations.get(name)
    return to_plain(name, value) if declaration is None else declaration.to_plain(value)


def to_plain(name: str, value: object, depth: int = 0) -> JSONValue:
    """Return `value` made of exact JSON types only, containers copied.

    Subclasses (a str that a template engine marks as safe, an OrderedDict) become what they
    are on the other side of the queue. An Enum is not one of them: it needs a declared type.
    """
    if isinstance(value, Enum):  # also one of str or int, whose name would be lost
        raise InvalidValueError(cannot_travel(name, value))
    if isinstance(value, str):
        return _checked_text(name, value)
    if value is None or isinstance(value, bool):  # before int, which bool is one of
        return value
    if isinstance(value, list | dict):
        return _checked_container(name, cast("list[object] | dict[object, object]", value), depth)
    return _checked_number(name, value)


def _checked_container(
    name: str, value: list[object] | dict[object, object], depth: int
) -> list[JSONValue] | dict[str, JSONValue]:
    if depth == MAX_DEPTH:
        raise InvalidValueError(f"{name}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [to_plain(name, item, depth + 1) for item in value]
    return {_checked_key(name, key): to_plain(name, item, depth + 1) for key, item in value.items()}


def _checked_text(name: str, value: str) -> str:
    if not value.isascii():
        # UTF-8 can say all text but lone surrogates, which come from `errors="surrogateescape"`.
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(
                f"{name}: the text holds a lone surrogate, which no message can carry; "
                "decode the text it came from with errors='replace'"
            ) from None
    # A subclass may say something else than it holds, as an f-string of it would show.
    return value if type(value) is str else str.__str__(value)


def _checked_key(name: str, key: object) -> str:
    if not isinstance(key, str) or isinstance(key, Enum):
        raise InvalidValueError(
            f"{name}: a dict in it has a key of type {type_name(type(key))}; keys are str"
        )
    return _checked_text(name, key)


def _checked_number(name: str, value: object) -> int | float:
    if isinstance(value, int):
        if value.bit_length() > _MAX_INT_BITS:
            raise InvalidValueError(
                f"{name}: an int of over {_MAX_INT_BITS:,} bits (some 4,300 digits) cannot travel"
            )
        return int(value)  # a subclass, such as pika's `long`, becomes a plain int
    if isinstance(value, float):
        if not isfinite(value):
            raise InvalidValueError(
                f"{name}: {value!r} cannot travel; JSON has finite numbers only"
            )
        return float(value)
    raise InvalidValueError(cannot_travel(name, value))


def cannot_travel(name: str, value: object) -> str:
    """Say that a value of this type cannot travel, and what to do."""
    return _CANNOT_TRAVEL.format(name=name, type=type_name(type(value)))


def type_name(kind: Any) -> str:
    """Return the name of a type as its user writes it."""
    if not isinstance(kind, type):
        return str(kind)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def escape(text: str, limit: int = 200) -> str:
    """Return `text` fit for a log line: ASCII, no control characters, of bounded length."""
    return ascii(text[:limit])[1:-1] + ("..." if len(text) > limit else "")


def printable(text: str, limit: int = 1000) -> str:
    """Return `text` as it is if a log line can hold it, else escaped."""
    fits = len(text) <= limit and text.isascii() and text.isprintable()
    return text if fits else escape(text, limit)


def describe(error: BaseException) -> str:
    """Describe an exception of unknown code in one line: type, text, and place."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - anybody's code
        text = "its text cannot be had"
    return escape(f"{type_name(type(error))}: {text}", 500) + printable(_place_of(error))


def _place_of(error: BaseException) -> str:
    """Return where an exception was raised, nothing if it was not."""
    place = error.__traceback__  # the first frame; the last one is where it was raised
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place else ""
