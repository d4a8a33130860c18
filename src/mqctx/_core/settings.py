"""Checks of settings that several of mqctx's classes take: tables of headers, lists, flags."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from mqctx._core.registry import Registry, registry
from mqctx._core.values import check_name, is_name
from mqctx.errors import ConfigurationError, InvalidNameError

_HTTP_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token: RFC 9110 5.6.2
# RabbitMQ's tracing puts "publish." before it, and AMQP allows 255 bytes (4.2.5.3).
_MOST_OF_NAME: Final = 247
# These frame a message or belong to one connection: RFC 9110 7.6.1 and 8, RFC 9112 6. Cookies have
# a syntax of their own.
_OF_HTTP: Final = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
        *("upgrade", "host", "content-length", "content-type", "content-encoding"),
        *("cookie", "set-cookie"),
    )
)


def checked_table(
    setting: str, given: object, check_header: Callable[[str, str], object], hint: str = ""
) -> dict[str, str]:
    """Return a copy of a table of headers by name, each checked by `check_header(setting, header)`.

    Raises:
        ConfigurationError: it is no such table, or one with names and headers swapped.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"{setting}: expected a mapping of names to headers such as "
            f"{{'tenant': 'X-Tenant-Id'}}, got {given!r}{hint}"
        )
    table = dict(cast("Mapping[str, str]", given))
    for name, header in table.items():
        _check_name(setting, name)
        _refuse_swapped(setting, name, header)
        check_header(setting, header)

    def add(changed: Registry[Any]) -> None:
        changed.named.update(table)
        changed.undeclared = set()  # log lines that were made without these names are made anew

    registry.change(add)
    return table


def refuse_shared(setting: str, headers: Iterable[str]) -> None:
    """Raise `ConfigurationError` if one of the headers comes twice."""
    seen: set[str] = set()
    for header in headers:
        if header in seen:
            raise ConfigurationError(
                f"{setting}: give each name a header of its own; {header!r} is written already"
            )
        seen.add(header)


def checked_entries(setting: str, given: object, meant: str) -> tuple[str, ...]:
    """Return the texts of a collection; raise `ConfigurationError` if it is something else.

    One text is refused too, of which each letter would be taken for an entry.
    """
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        entries = tuple(cast("Iterable[object]", given))
        if all(isinstance(entry, str) for entry in entries):
            return cast("tuple[str, ...]", entries)
    raise ConfigurationError(f"{setting}: expected {meant}, got {given!r}")


def check_flag(setting: str, given: object) -> None:
    """Raise `ConfigurationError` unless it is True or False: the text "false" counts as true."""
    if not isinstance(given, bool):
        raise ConfigurationError(f"{setting}: expected True or False, got {given!r}")


def check_choice(setting: str, given: object, choices: Sequence[str]) -> None:
    """Raise `ConfigurationError` unless it is one of these texts."""
    if given not in choices:
        raise ConfigurationError(f"{setting}: {given!r} is not {' or '.join(map(repr, choices))}")


def check_text(setting: str, given: object) -> None:
    """Raise `ConfigurationError` unless it is text."""
    if not isinstance(given, str):
        raise ConfigurationError(f"{setting}: expected text, got {given!r}")


def check_exchange(setting: str, given: object) -> None:
    """Raise `ConfigurationError` unless it can be the name of an exchange that is declared."""
    check_text(setting, given)
    name = str(given)
    if not name or name.startswith("amq.") or len(name.encode(errors="replace")) > _MOST_OF_NAME:
        raise ConfigurationError(
            f"{setting}: {given!r} cannot be the name of an exchange of your own; give one such as "
            "'mqctx.journeys'"
        )


def check_callable(setting: str, given: object, meant: str) -> None:
    """Raise `ConfigurationError` unless it can be called."""
    if not callable(given):
        raise ConfigurationError(f"{setting}: expected {meant}, got {given!r}")


def check_http_header(setting: str, header: object) -> str:
    """Return the name of an HTTP header; raise `ConfigurationError` if it cannot be one."""
    if not isinstance(header, str) or not _HTTP_HEADER.fullmatch(header):
        raise ConfigurationError(
            f"{setting}: {header!r} cannot be the name of an HTTP header; give one such as "
            "'X-Tenant-Id'"
        )
    # WSGI's name for it would never be found: PEP 3333 makes it of the header, and drops its case.
    if header.upper().startswith("HTTP_"):
        sent = header[5:].replace("_", "-").title()
        raise ConfigurationError(
            f"{setting}: {header!r} is a key of WSGI; give the header as it is sent, {sent!r}"
        )
    return header


def check_written_http_header(setting: str, header: object) -> str:
    """Do as `check_http_header`, and refuse headers whose meaning HTTP itself defines."""
    checked = check_http_header(setting, header)
    if checked.lower() in _OF_HTTP:
        raise ConfigurationError(
            f"{setting}: {checked!r} has a meaning in HTTP itself; choose another header"
        )
    return checked


def _check_name(setting: str, name: object) -> None:
    try:
        check_name(name)
    except InvalidNameError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def _refuse_swapped(setting: str, name: str, header: object) -> None:
    # A header that cannot be a name, such as `property:message_id`, is where it belongs.
    if is_name(header) and _is_swapped(name, header):
        raise ConfigurationError(
            f"{setting}: {name!r} looks like a header and {header!r} like a name; "
            f"names come first, {{{header!r}: {name!r}}}"
        )


def _is_swapped(name: str, header: str) -> bool:
    # Only if it looks swapped for certain: `tenant: shop` is as good a header as a name.
    if header[:1].isupper() or header.lower().startswith("x-"):
        return False
    return name.lower().startswith("x-") or (_like_header(name) and not _like_header(header))


def _like_header(text: str) -> bool:
    return "-" in text or text[:1].isupper()
