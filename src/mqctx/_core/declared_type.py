"""Whether values of a type can travel, said where it is declared."""

from collections.abc import Iterator
from itertools import filterfalse
from typing import Any

from msgspec.inspect import CustomType, Field, Type, type_info
from msgspec.structs import astuple

from mqctx.errors import ConfigurationError

_JSON_TYPES = (str, int, float, bool, list, dict, type(None))


def refuse_type(name: str, kind: Any) -> None:
    """Raise `ConfigurationError` if no value of that type can travel under `name`."""
    try:
        unknown = _first_unknown(type_info(kind))
    except TypeError as error:
        raise ConfigurationError(f"{name}: {error}; {_ADVICE}") from None
    except NameError:
        return  # it refers to what is defined further down
    if unknown is not None:
        shown = getattr(unknown, "__qualname__", str(unknown))
        raise ConfigurationError(f"{name}: a value of type {shown} cannot travel; {_ADVICE}")


_ADVICE = (
    "use what JSON can say, UUID, date and time types, Decimal, Enum, Literal, a dataclass, a "
    "msgspec Struct or a pydantic model, or keep it in the process with local=True"
)


def _first_unknown(described: Type) -> Any:
    """Return the first type, of this one and those in it, that nobody can turn into JSON."""
    custom = (each.cls for each in _descriptions(described) if isinstance(each, CustomType))
    return next(filterfalse(_can_be_json, custom), None)


def _descriptions(described: Type) -> Iterator[Type | Field]:
    """Yield what describes a type and those in it."""
    # A type may refer to itself, as that of a tree does: each description is looked at once.
    seen, left = set[int](), list[Any]([described])
    while left:
        node = left.pop()
        if isinstance(node, tuple):
            left.extend(node)  # pyright: ignore[reportUnknownArgumentType]  # of types or fields
        elif isinstance(node, Type | Field) and id(node) not in seen:
            seen.add(id(node))
            yield node
            left.extend(astuple(node))


def _can_be_json(kind: Any) -> bool:
    """Tell whether values may travel: those of a pydantic model, or of an abstract JSON type."""
    if hasattr(kind, "model_validate_json"):
        return True
    try:
        return any(issubclass(json_type, kind) for json_type in _JSON_TYPES)
    except TypeError:  # `kind` is no class, but a form of `typing`
        return False
