"""The broker's own history of a dead letter: `x-death` of RabbitMQ 3.10 to 4.3."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from mqctx.inspection._moments import moment

__all__ = ["Death", "deaths_in"]


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
    deaths = [*filter(None, map(_death, _items(headers.get("x-death"))))]
    if not deaths:
        # Streams, and shovels, may keep these alone.
        summaries = (_summary(headers, which) for which in ("last", "first"))
        return tuple(filter(None, summaries))[:1]
    # A stable sort: of the others the newest is still the first.
    return tuple(sorted(deaths, key=lambda death: not _is_last(death, headers)))


def _is_last(death: Death, headers: Mapping[str, Any]) -> bool:
    """Tell whether RabbitMQ 3.13 and newer says that this is the newest one; else the first is."""
    return (death.queue, death.reason) == (
        headers.get("x-last-death-queue"),
        headers.get("x-last-death-reason"),
    )


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


def _summary(headers: Mapping[str, Any], which: str) -> Death | None:
    queue, reason = (_text(headers.get(f"x-{which}-death-{key}")) for key in ("queue", "reason"))
    if queue is None or reason is None:
        return None
    return Death(queue, reason, exchange=_text(headers.get(f"x-{which}-death-exchange")))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _items(value: object) -> Iterable[Any]:
    """Return the items of a list. Any publisher may write `x-death`, and of any type."""
    return cast("Iterable[Any]", value) if isinstance(value, list | tuple) else ()
