"""Events as other tools see them: a name, and a time that each took."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

__all__ = ["Json", "Span", "destination_of", "span_of", "told_of"]

Json = Mapping[str, Any]

_TOLD = (
    ("message_id", "messaging.message.id"),
    ("correlation_id", "messaging.message.conversation_id"),
    ("bytes", "messaging.message.body.size"),
    ("user", "rabbitmq.user"),
    ("node", "rabbitmq.node"),
    ("connection", "rabbitmq.connection"),
    ("redelivered", "rabbitmq.redelivered"),
    ("queue", "rabbitmq.queue"),
    ("reason", "rabbitmq.dead_letter.reason"),
    ("attempt", "mqctx.attempt"),
    ("joined", "mqctx.joined"),
    ("inferred", "mqctx.inferred"),
    ("outcome", "mqctx.outcome"),
    ("error", "error.type"),
    ("handler", "code.function.name"),
)
"""Keys of an event, and what OpenTelemetry's conventions, if any, call them."""


class Span(NamedTuple):
    """When something began and ended, in microseconds since 1970."""

    name: str
    start: int
    end: int


def span_of(event: Json) -> Span:
    """Return what an event is called, and the time that it took.

    A delivery has the time for which its message waited.
    """
    at = _micros(datetime.fromisoformat(event["at"]).timestamp())
    match event["kind"]:
        case "delivery":
            return Span(f"deliver {event.get('queue')}", at - _micros(event.get("wait")), at)
        case "run":
            end = at + _micros(event.get("duration"))
            return Span(f"process {event.get('handler') or event.get('service')}", at, end)
        case "dead_letter":
            return Span(" ".join(filter(None, ("dead-letter", event.get("queue")))), at, at)
        case _:
            return Span(f"publish {destination_of(event)}", at, at)


def _micros(seconds: float | None) -> int:
    # A delivery may be seen before its publish.
    return round(max(0.0, seconds or 0.0) * 1_000_000)


def destination_of(event: Json) -> str:
    """Return where a message goes, as OpenTelemetry's conventions for RabbitMQ write it."""
    keys, queue = _keys_of(event), event.get("queue")
    # By the default exchange the key is the queue: once is enough.
    parts = (event.get("exchange"), keys, None if queue == keys else queue)
    return ":".join(filter(None, parts)) or "amq.default"


def told_of(event: Json) -> dict[str, Any]:
    """Return what is to be said of an event, by the names of OpenTelemetry's conventions."""
    told = {theirs: event.get(ours) for ours, theirs in _TOLD}
    told["messaging.system"] = "rabbitmq"
    told |= _way_of(event) | {f"mqctx.{name}": value for name, value in event["context"].items()}
    # The conventions have attributes left out that say nothing.
    return {name: value for name, value in told.items() if value not in (None, "")}


def _way_of(event: Json) -> dict[str, str]:
    """Return where a message went, of what went anywhere."""
    if "exchange" not in event:
        return {}
    return {
        "messaging.destination.name": destination_of(event),
        "messaging.rabbitmq.destination.routing_key": _keys_of(event),
    }


def _keys_of(event: Json) -> str:
    return ",".join(event.get("routing_keys") or ())
