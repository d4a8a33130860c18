"""The events of RabbitMQ's firehose (exchange `amq.rabbitmq.trace`), and of a tap, as ours."""

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any, Final, cast

import msgspec

from mqctx.inspection._journeys._dramatiq import DramatiqMessage, read_body
from mqctx.inspection._journeys._identity import Contexts, context_headers, identity_of
from mqctx.inspection._journeys._model import Event, RunReport
from mqctx.inspection._plain import plain

__all__ = ["Reader"]

_REPORT: Final = "mqctx.run"
"""The property `type` of mqctx's own records."""


class Reader:
    """Read events. Whatever an event lacks, or has of another type, it counts as absent."""

    def __init__(self) -> None:
        self._contexts = Contexts()

    def firehose(
        self, routing_key: str, headers: Mapping[str, Any], body: bytes, at: float
    ) -> Event | RunReport | None:
        """Return what a message of the firehose tells: None if it is of no kind that matters."""
        what, _, name = routing_key.partition(".")
        properties = _table(headers.get("properties"))
        if what not in ("publish", "deliver"):
            return None
        report = _report(body, at) if properties.get("type") == _REPORT else None
        if report is not None:
            return report if what == "publish" else None
        event = self._event(properties, body, at)
        _complete(event, headers)
        if what == "publish":
            # The same queue twice, if two bindings lead there: it gets one copy.
            event.queues = tuple(dict.fromkeys(_texts(headers.get("routed_queues"))))
        else:
            event.kind = "delivery"
            event.queue = name
            event.redelivered = bool(headers.get("redelivered"))
        return event

    def tap(
        self, exchange: str, routing_key: str, properties: Mapping[str, Any], body: bytes, at: float
    ) -> Event:
        """Return the publish that a copy of its message tells of."""
        event = self._event(properties, body, at)
        event.exchange, event.routing_keys = exchange, [routing_key]
        return event

    def _event(self, properties: Mapping[str, Any], body: bytes, at: float) -> Event:
        headers: dict[str, Any] = plain(_table(properties.get("headers")))
        of_context = context_headers(headers)
        body_tells = DramatiqMessage() if of_context else read_body(body)
        of_context = of_context or context_headers(body_tells.options)
        message_id, correlation_id, reply_to, *others = (
            _text(properties.get(name))
            for name in ("message_id", "correlation_id", "reply_to", "type", "app_id")
        )
        return Event(
            kind="publish",
            at=at,
            identity=identity_of(body, message_id, correlation_id, headers, of_context, others),
            exchange="",
            routing_keys=[],
            headers=headers,
            context=self._contexts.read(of_context),
            bytes=len(body),
            message_id=message_id or body_tells.message_id,
            correlation_id=correlation_id,
            reply_to=reply_to,
        )


def _complete(event: Event, headers: Mapping[str, Any]) -> None:
    """Add what the firehose says beside the properties: from whom, over what, to where."""
    event.exchange = _text(headers.get("exchange_name")) or ""
    event.routing_keys = _texts(headers.get("routing_keys"))
    event.user, event.node = _text(headers.get("user")), _text(headers.get("node"))
    event.connection = _text(headers.get("connection"))
    channel = headers.get("channel")
    event.channel = channel if isinstance(channel, int) else None


def _report(body: bytes, at: float) -> RunReport | None:
    """Return the record of a run; None of what only looks like one."""
    try:
        report = msgspec.json.decode(body, type=RunReport)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    report.at = at
    if report.began_at.tzinfo is None:
        # One without a zone, which ours always have, would be taken for local time.
        report.began_at = report.began_at.replace(tzinfo=UTC)
    return report


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str]:
    entries = cast("Iterable[Any]", value) if isinstance(value, list) else ()
    return [each for each in entries if isinstance(each, str)]


def _table(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
