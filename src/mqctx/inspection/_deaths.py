"""The broker's own history of a dead letter: `x-death` of RabbitMQ 3.10 to 4.3."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import msgspec

from mqctx.inspection._moments import moment
from mqctx.inspection._plain import plain

__all__ = ["Death", "deaths_in"]

_LAST, _FIRST = (
    tuple(f"x-{which}-death-{key}" for key in ("queue", "reason", "exchange"))
    for which in ("last", "first")
)
_NAMES: Final = ("x-death", *_LAST, *_FIRST)


class Death(msgspec.Struct, frozen=True):
    """One way in which a message died: RabbitMQ counts those of one queue and reason together."""

    queue: str
    reason: str
    count: int = 1
    exchange: str | None = None
    routing_keys: tuple[str, ...] = ()
    at: str | None = None
    """The first time it died in this way, by the broker's clock."""

    def as_json(self) -> dict[str, Any]:
        """Return it as an object of JSON."""
        return {**msgspec.structs.asdict(self), "routing_keys": list(self.routing_keys)}


def deaths_in(headers: Mapping[str, Any]) -> tuple[Death, ...]:
    """Return the deaths of a message, the newest first. What is no death is left out."""
    history = {name: plain(headers[name]) for name in _NAMES if name in headers}
    if not history:
        return ()
    deaths = [*filter(None, map(_death, _items(history.get("x-death"))))]
    if not deaths:
        # Streams, and shovels, may keep these alone.
        return tuple(filter(None, (_summary(history, names) for names in (_LAST, _FIRST))))[:1]
    # RabbitMQ 3.13 and newer says which is the newest one; else the first is, and a stable sort
    # leaves it there.
    newest = tuple(history.get(name) for name in _LAST[:2])
    return tuple(sorted(deaths, key=lambda death: (death.queue, death.reason) != newest))


def _death(entry: Any) -> Death | None:
    if not isinstance(entry, Mapping):
        return None
    table = cast("Mapping[str, Any]", entry)
    queue, reason = _text(table.get("queue")), _text(table.get("reason"))
    if queue is None or reason is None:
        return None
    count = table.get("count")
    return Death(
        queue=queue,
        reason=reason,
        count=count if isinstance(count, int) else 1,
        exchange=_text(table.get("exchange")),
        routing_keys=tuple(map(str, _items(table.get("routing-keys")))),
        at=moment(table.get("time")),
    )


def _summary(history: Mapping[str, Any], names: tuple[str, ...]) -> Death | None:
    queue, reason, exchange = (_text(history.get(name)) for name in names)
    if queue is None or reason is None:
        return None
    return Death(queue, reason, exchange=exchange)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _items(value: object) -> Iterable[Any]:
    """Return the items of a list. Any publisher may write `x-death`, and of any type."""
    return cast("Iterable[Any]", value) if isinstance(value, list | tuple) else ()
