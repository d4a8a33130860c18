"""The broker's own history of a dead letter: `x-death` of RabbitMQ 3.10 to 4.3."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import msgspec

from mqctx.inspection._moments import moment
from mqctx.inspection._plain import name_shown, plain, text_or_none

__all__ = ["Death", "deaths_in"]

_LAST, _FIRST = (
    tuple(f"x-{which}-death-{key}" for key in ("queue", "reason", "exchange"))
    for which in ("last", "first")
)
_SUMMARY: Final = (*_LAST, *_FIRST)
_NAMES: Final = frozenset(("x-death", *_SUMMARY))


class Death(msgspec.Struct, frozen=True):
    """One way in which a message died: RabbitMQ counts those of one queue and reason together."""

    queue: str
    reason: str
    count: int = 1
    exchange: str | None = None
    routing_keys: tuple[str, ...] = ()
    """Bytes that are not UTF-8 are lone surrogates, so that the keys can be sent again."""
    at: str | None = None
    """The first time it died in this way, by the broker's clock."""

    def as_json(self) -> dict[str, Any]:
        """Return it as an object of JSON."""
        return {
            **msgspec.structs.asdict(self),
            "routing_keys": [*map(name_shown, self.routing_keys)],
        }


def deaths_in(headers: Mapping[str, Any]) -> tuple[Death, ...]:
    """Return the deaths of a message, the newest first. Leave out malformed entries."""
    if _NAMES.isdisjoint(headers):
        return ()
    history = {name: plain(headers.get(name)) for name in _SUMMARY}
    deaths = [*filter(None, map(_death, _items(headers.get("x-death"))))]
    if not deaths:
        # Streams, and shovels, may keep these alone.
        return tuple(filter(None, (_summary(history, names) for names in (_LAST, _FIRST))))[:1]
    # RabbitMQ 3.13 and newer says which is the newest one; else the first is, and a stable sort
    # leaves it there.
    newest = tuple(map(history.get, _LAST[:2]))
    return tuple(sorted(deaths, key=lambda death: (death.queue, death.reason) != newest))


def _death(entry: Any) -> Death | None:
    read: dict[str, Any] = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    table: dict[str, Any] = plain(read)
    count = table.get("count")
    return _named(
        table.get("queue"),
        table.get("reason"),
        count=count if isinstance(count, int) else 1,
        exchange=text_or_none(table.get("exchange")),
        routing_keys=tuple(map(_key, _items(read.get("routing-keys")))),
        at=moment(table.get("time")),
    )


def _key(value: Any) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(plain(value))


def _summary(history: Mapping[str, Any], names: tuple[str, ...]) -> Death | None:
    queue, reason, exchange = map(history.get, names)
    return _named(queue, reason, exchange=text_or_none(exchange))


def _named(queue: object, reason: object, **more: Any) -> Death | None:
    """Return a death, None if these two, by which one is known, are no text."""
    if isinstance(queue, str) and isinstance(reason, str):
        return Death(queue, reason, **more)
    return None


def _items(value: object) -> Iterable[Any]:
    """Return the items of a list. Any publisher may write `x-death`, and of any type."""
    return cast("Iterable[Any]", value) if isinstance(value, list) else ()
