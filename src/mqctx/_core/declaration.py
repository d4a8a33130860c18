"""Declared types: what a value must be, on the way out and on the way in."""

import re
from typing import Any

import msgspec

from mqctx._core.registry import Registry, registry
from mqctx._core.values import (
    SCALARS,
    JSONValue,
    cannot_travel,
    check_name,
    to_plain,
    type_name,
)
from mqctx.errors import ConfigurationError, InvalidValueError

_SAYS_THE_TYPE = re.compile(r"Expected `[^`]*`, got `[^`]*`")


class Declaration(msgspec.Struct, frozen=True, eq=False):
    """The type and locality that a variable declares for its name."""

    name: str
    type: Any
    local: bool = False

    def check(self, value: object) -> object:
        """Return `value` as the context keeps it; raise `InvalidValueError` if it does not fit."""
        if self.local:
            return self._checked_local(value)
        if type(value) is self.type in SCALARS:
            return to_plain(self.name, value)
        # There and back at once: what would arrive as something else must fail where it is set.
        plain = self.to_plain(value)
        try:
            back = self._from_plain(plain)
        except (TypeError, ValueError) as error:
            # msgspec's words, unless they only say what ours do.
            detail = "" if _SAYS_THE_TYPE.fullmatch(str(error)) else f": {error}"
            raise InvalidValueError(f"{self._does_not_fit(value)}{detail}") from None
        if _differ(back, value):
            raise InvalidValueError(
                f"{self.name}: {value!r} becomes {back!r} on the way through a message; "
                f"use a type whose values compare equal after {type_name(self.type)} is "
                "written as JSON and read again"
            )
        return back

    def _checked_local(self, value: object) -> object:
        # It stays the same object. Of a form of `typing` that is no class, nothing can be checked.
        if isinstance(self.type, type) and not isinstance(value, self.type):
            raise InvalidValueError(self._does_not_fit(value))
        return value

    def to_plain(self, value: object) -> JSONValue:
        """Turn a value of the declared type into plain JSON."""
        if type(value) is self.type in SCALARS:
            return to_plain(self.name, value)
        # By way of text: what counts is what the other side will read.
        try:
            plain = msgspec.json.decode(msgspec.json.encode(value, enc_hook=_dump_model))
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise InvalidValueError(cannot_travel(self.name, value)) from None
        return to_plain(self.name, plain)

    def restore(self, plain: JSONValue, *, lax: bool = False) -> object:
        """Turn plain JSON into the declared type; if `lax`, text such as "5" into numbers too.

        Raises `ValueError`, `InvalidValueError`, or any error of the type's own code, if it does
        not fit. A value that could not be set here (a Decimal NaN) is not restored either.
        """
        try:
            value = self._from_plain(plain)
        except ValueError:
            if not lax:
                raise
            value = self._from_plain(plain, strict=False)
        return value if value is plain else self.check(value)

    def _from_plain(self, plain: JSONValue, *, strict: bool = True) -> object:
        return msgspec.convert(
            plain, self.type, strict=strict, str_keys=True, dec_hook=_validate_model
        )

    def enter(self, registry: Registry[Any]) -> None:
        """Make it the declaration of its name."""
        registry.declarations[self.name] = self
        if self.local:
            registry.local.add(self.name)
        if self.type is str:
            registry.texts.add(self.name)
        # Last: a thread that looked before, and adds the name only now, adds it to the old set.
        registry.undeclared = set()

    def agrees_with(self, other: "Declaration") -> bool:
        """Tell whether both declare the same. A reloaded module's types count as the same."""
        return repr(self.type) == repr(other.type) and self.local == other.local

    def _does_not_fit(self, value: object) -> str:
        return f"{self.name}: expected {type_name(self.type)}, got {type_name(type(value))}"


def _dump_model(value: Any) -> Any:
    """Turn a pydantic model, which msgspec does not know, into plain JSON."""
    if not hasattr(value, "model_dump"):
        raise TypeError
    return value.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)


def _validate_model(kind: Any, plain: Any) -> Any:
    """Turn plain JSON into a pydantic model; leave all other types to msgspec."""
    if not hasattr(kind, "model_validate_json"):
        return plain
    return kind.model_validate_json(msgspec.json.encode(plain))


def _differ(back: object, value: object) -> bool:
    try:
        return bool(back != value)
    except ArithmeticError:  # a signalling NaN is not even to be compared
        return True


def declare(declaration: Declaration) -> None:
    """Declare a name; raise `ConfigurationError` if an earlier declaration contradicts."""
    name = declaration.name
    check_name(name)
    # One step: if two threads declare at once, one is first, and the other sees its declaration.
    earlier = registry.declarations.setdefault(name, declaration)
    if not earlier.agrees_with(declaration):
        raise ConfigurationError(
            f"{name}: already declared as {type_name(earlier.type)} "
            f"(local={earlier.local}); share one Variable, or choose another name"
        )
    registry.change(declaration.enter)
