"""Filters of names: a list with names as they are, or with prefixes."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from mqctx._core.settings import checked_entries
from mqctx._core.values import check_name
from mqctx.errors import ConfigurationError, InvalidNameError

NAMES_MEANT: Final = "names or prefixes such as ['tenant', 'order.*']"


def name_filter(
    setting: str,
    allowed: Iterable[str] | None,
    groups: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> Callable[[str], bool]:
    """Return whether a name is one of those, `order.*` for all below `order`. None: each name is.

    An entry that is in `groups` stands for the names there too. The result can be pickled.

    Raises:
        ConfigurationError: `allowed` is no collection of texts, or one of them can be no name.
    """
    if allowed is None:
        return any_name
    entries = checked_entries(setting, allowed, NAMES_MEANT)
    for entry in entries:
        if entry not in ("*", *groups):
            _check_entry(setting, entry)
    return any_of(name for entry in entries for name in (entry, *groups.get(entry, ())))


def _check_entry(setting: str, entry: str) -> None:
    name = entry.removesuffix(".*")
    if "*" in name:
        hint = f"'{name.strip('*.') or 'order'}.*'"
        raise ConfigurationError(
            f"{setting}: {entry!r}: a `*` follows a dot at the end, as in {hint}, or stands alone "
            "for all names"
        )
    try:
        check_name(name)
    except InvalidNameError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def any_of(entries: Iterable[str]) -> Callable[[str], bool]:
    """Return whether a text is one of `entries`, a trailing `*` for a prefix."""
    texts = frozenset(entries)
    prefixes = tuple(entry[:-1] for entry in texts if entry.endswith("*"))
    # A partial, not a closure: filters of log handlers are pickled for other processes.
    return partial(_is_among, texts, prefixes)


def any_name(_: str) -> bool:
    """Accept every name."""
    return True


def _is_among(names: frozenset[str], prefixes: tuple[str, ...], name: str) -> bool:
    return name in names or name.startswith(prefixes)
