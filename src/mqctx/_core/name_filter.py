"""Filters of names: a list with names as they are, or with prefixes."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType

from mqctx.errors import ConfigurationError


def name_filter(
    setting: str,
    allowed: Iterable[str] | None,
    groups: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> Callable[[str], bool]:
    """Return whether a name is one of those, a trailing `*` for a prefix. None: each name is.

    An entry that is in `groups` stands for the names there too. The result can be pickled.

    Raises:
        ConfigurationError: `allowed` is text, of which each letter would be taken for a name.
    """
    if allowed is None:
        return any_name
    if isinstance(allowed, str):
        raise ConfigurationError(
            f"{setting}: expected names or prefixes such as ['tenant', 'order.*'], got {allowed!r}"
        )
    entries = tuple(allowed)
    return any_of(name for entry in entries for name in (entry, *groups.get(entry, ())))


def any_of(entries: Iterable[str]) -> Callable[[str], bool]:
    """Return whether a text is one of `entries`, a trailing `*` for a prefix."""
    texts = frozenset(entries)
    prefixes = tuple(entry[:-1] for entry in texts if entry.endswith("*"))
    return partial(_is_among, texts, prefixes)


def any_name(_: str) -> bool:
    """Accept every name."""
    return True


def _is_among(names: frozenset[str], prefixes: tuple[str, ...], name: str) -> bool:
    return name in names or name.startswith(prefixes)
