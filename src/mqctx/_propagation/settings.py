"""The settings of a propagator: formats, names and limits; and their checks."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any, Final, Literal, TypeAlias, TypedDict, cast

import msgspec

from mqctx._core.name_filter import any_of
from mqctx._core.rejection import Rejection
from mqctx._core.settings import check_callable, check_choice
from mqctx.errors import ConfigurationError
from mqctx.formats._format import Format, header_label

Accepted: TypeAlias = Iterable[str] | Mapping[Any, Iterable[str] | None] | None
"""Names that are restored: from all formats, or a list for each of some formats. None: all.

The keys are Any because those of a mapping are invariant: a mapping of `JsonFormat`s would not
pass for one of `Format`s.
"""
DEFAULT_MAX_BYTES: Final = 3584
"""The smallest frame, 4,096 bytes, minus 512 for other headers and properties."""
# RabbitMQ closes the connection over a header frame of 131,072 bytes (its default frame_max), which
# also holds the other properties.
_MOST_BYTES: Final = 130_000


class SettingsArguments(TypedDict, total=False):
    """The arguments of `Propagator`, which `configure` takes too."""

    formats: Sequence[Format]
    send: Iterable[str] | None
    accept: Accepted
    max_bytes: int
    on_oversize: Literal["raise", "drop"]
    on_rejected: Callable[[Rejection], object]


class Settings(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The settings of a propagator, checked.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    formats: tuple[Format, ...]
    send: Iterable[str] | None
    accept: Accepted
    max_bytes: int
    on_oversize: Literal["raise", "drop"]
    on_rejected: Callable[[Rejection], object]

    def __post_init__(self) -> None:
        _check_formats(self.formats)
        _check_limit(self.max_bytes)
        check_choice("on_oversize", self.on_oversize, ("raise", "drop"))
        check_callable("on_rejected", self.on_rejected, "a function that takes a rejection")

    @property
    def properties(self) -> frozenset[str]:
        """AMQP properties that the formats use besides headers."""
        return frozenset(key for each in self.formats for key in each.properties)

    @property
    def names_of_headers(self) -> dict[str, Iterable[str]]:
        """The fixed set of names that a header stands for, by header."""
        return {
            h: each.owned_names for each in self.formats for h in each.headers if each.owned_names
        }


def as_formats(given: Sequence[Format]) -> tuple[Format, ...]:
    """Return a collection of formats as a tuple; raise `ConfigurationError` if it is not one."""
    formats = cast("object", given)
    if isinstance(formats, Iterable):
        found = tuple(given)
        if all(map(_is_format, found)):
            return found
    raise ConfigurationError(
        f"formats: expected a list of formats such as [JsonFormat()], got {given!r}"
    )


def _is_format(given: object) -> bool:
    # A class has `decode` too: one that was written without the parentheses.
    return hasattr(given, "decode") and not isinstance(given, type)


def _check_formats(formats: Sequence[Format]) -> None:
    if not formats:
        raise ConfigurationError("formats: give at least one, such as JsonFormat()")
    if _share_a_header(formats):
        labels = list(map(header_label, formats))
        raise ConfigurationError(f"formats: two of them write the same header, of {labels}")


def _share_a_header(formats: Sequence[Format]) -> bool:
    # OpenTelemetry may write them to HTTP, which does not tell upper case from lower.
    written = [entry.lower() for each in formats for entry in _headers_of(each)]
    return any(any_of([one])(other) for one, other in permutations(written, 2))


def _headers_of(format: Format) -> Collection[str]:
    """Return the headers that a format writes, or its prefix with a `*`."""
    return format.headers if format.header_prefix is None else [f"{format.header_prefix}*"]


def _check_limit(max_bytes: int) -> None:
    # Not isinstance: True is an int, and would be a limit of one byte.
    if type(max_bytes) is not int or not 0 < max_bytes <= _MOST_BYTES:
        raise ConfigurationError(
            f"max_bytes: {max_bytes!r} is not between 1 and {_MOST_BYTES}; RabbitMQ "
            "closes the connection when the headers are larger than a frame"
        )
