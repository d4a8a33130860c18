"""The broker's own history of a dead letter: `x-death` of RabbitMQ 3.10 to 4.3."""

from collections.abc import Mapping
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
    entries = headers.get("x-death")
    found = [_death(each) for each in cast("list[Any]", entries)] if _is_list(entries) else []
    deaths = [each for each in found if each is not None]
    if not deaths:
        # Streams, and shovels, may keep these alone.
        return tuple(each for each in (_summary(headers, w) for w in ("last", "first")) if each)[:1]
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
    queue, reason, count = (table.get(key) for key in ("queue", "reason", "count"))
    if not isinstance(queue, str) or not isinstance(reason, str):
        return None
    keys = table.get("routing-keys")
    return Death(
        queue=queue,
        reason=reason,
        count=count if isinstance(count, int) else 1,
        exchange=_text(table.get("exchange")),
        routing_keys=tuple(str(key) for key in cast("list[Any]", keys)) if _is_list(keys) else (),
        at=moment(table.get("time")),
    )


def _summary(headers: Mapping[str, Any], which: str) -> Death | None:
    queue, reason = (headers.get(f"x-{which}-death-{key}") for key in ("queue", "reason"))
    if not isinstance(queue, str) or not isinstance(reason, str):
        return None
    return Death(queue, reason, exchange=_text(headers.get(f"x-{which}-death-exchange")))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
