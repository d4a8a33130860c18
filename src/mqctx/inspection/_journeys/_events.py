"""The events of RabbitMQ's firehose (exchange `amq.rabbitmq.trace`), and of a tap, as ours."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, cast

import msgspec
from msgspec.structs import replace

from mqctx._amqp.content_header import ContentHeader
from mqctx._amqp.field_table import decode_table, decode_value
from mqctx._core.values import to_plain
from mqctx.errors import InvalidValueError
from mqctx.inspection._arrivals import Arrival
from mqctx.inspection._deaths import deaths_in
from mqctx.inspection._dramatiq import DramatiqMessage, read_body
from mqctx.inspection._journeys._identity import Contexts, context_headers, publishers_own
from mqctx.inspection._journeys._told import Event, Identity, Place, RunReport, Written
from mqctx.inspection._plain import plain, text_or_none

__all__ = ["Reader"]

_REPORT: Final = "mqctx.run"
"""The property `type` of mqctx's own records."""
_TEXTS: Final = ("message_id", "correlation_id", "reply_to", "type", "app_id")
_DEATHS: Final = ("x-death", "x-last-death-queue", "x-first-death-queue")
_YEARS: Final = range(1970, 2262)
"""Those whose nanoseconds since 1970 have room in 64 bits."""
_MOST_CACHED: Final = 8_192
_MOST_CACHED_BYTES: Final = 4_096
"""Longer values are read each time, so that the caches stay small."""


class Reader:
    """Read events. Fields of an unexpected type count as absent.

    Most bytes come more than once, and are read once: a delivery has the properties of its publish,
    and a channel publishes to few places.
    """

    def __init__(self) -> None:
        self._contexts = Contexts()
        self._place = _cached(_place)
        self._written = _cached(self._read)

    def of_firehose(self, arrival: Arrival, at: float) -> Event | RunReport | None:
        """Return the event in a message of the firehose: None if it is of no kind that matters."""
        _, routing_key = arrival.came_by
        header = ContentHeader(arrival.properties)
        return self.firehose(routing_key, header, arrival.body, at, arrival.consumer)

    def of_tap(self, arrival: Arrival, at: float) -> Event:
        """Return the publish that a copy of its message stands for."""
        return self.tap(*arrival.came_by, ContentHeader(arrival.properties), arrival.body, at)

    def firehose(
        self, routing_key: str, header: ContentHeader, body: bytes, at: float, lane: str = ""
    ) -> Event | RunReport | None:
        """Return the event in a message of the firehose: None if it is of no kind that matters."""
        properties, rest = header.split_headers("properties")
        return self._told(self._place(rest, routing_key), self._written(properties), body, at, lane)

    def decoded(
        self, routing_key: str, headers: Mapping[str, Any], body: bytes, at: float
    ) -> Event | RunReport | None:
        """Return the event in a message of the firehose whose headers are decoded already."""
        written = self._read_table(_table(headers.get("properties")))
        return self._told(_place_of(headers, routing_key), written, body, at)

    def _told(
        self, place: Place | None, written: Written, body: bytes, at: float, lane: str = ""
    ) -> Event | RunReport | None:
        if place is None:
            return None
        if written.is_report and (report := _report(body, at, lane)) is not None:
            return report if place.kind == "publish" else None
        return self._event(at, place, written, body, lane)

    def tap(
        self, exchange: str, routing_key: str, header: ContentHeader, body: bytes, at: float
    ) -> Event:
        """Return the publish that a copy of its message stands for."""
        properties = {name: header.get(name) for name in _TEXTS} | {"headers": header.headers}
        place = Place(kind="publish", exchange=exchange, routing_keys=[routing_key])
        return self._event(at, place, self._read_table(properties), body)

    def _event(
        self, at: float, place: Place, written: Written, body: bytes, lane: str = ""
    ) -> Event:
        if not written.has_context and (tells := read_body(body)) is not None:
            written = self._with(written, tells)
        key = hash((body, written.key))
        identity = Identity(key, hash((key, written.exact)), written.is_unique)
        return Event(at, place, written, identity, len(body), lane)

    def _with(self, written: Written, tells: DramatiqMessage) -> Written:
        """Add what a body says that has the context of its message, and its id."""
        of_context = context_headers(tells.options)
        message_id = written.message_id or tells.message_id
        return replace(
            written,
            context=self._contexts.read(of_context),
            message_id=message_id,
            key=hash((message_id, written.correlation_id, of_context)),
            is_unique=written.is_unique or bool(message_id or of_context),
        )

    def _read(self, properties: bytes) -> Written:
        table = decode_value(properties, 0, len(properties)) if properties else None
        return self._read_table(_table(table))

    def _read_table(self, properties: Mapping[str, Any]) -> Written:
        headers: dict[str, Any] = plain(_table(properties.get("headers")))
        message_id, correlation_id, reply_to, type_, app_id = (
            text_or_none(properties.get(name)) for name in _TEXTS
        )
        of_context = context_headers(headers)
        return Written(
            headers=headers,
            context=self._contexts.read(of_context),
            has_context=bool(of_context),
            message_id=message_id,
            correlation_id=correlation_id,
            reply_to=reply_to,
            # Built-in hashes do: they are compared in this process alone, and nobody can guess
            # their seed.
            key=hash((message_id, correlation_id, of_context)),
            exact=hash((type_, app_id, publishers_own(headers))),
            is_unique=bool(message_id or correlation_id or of_context),
            deaths=deaths_in(headers) if _has(headers, _DEATHS) else (),
            failure=text_or_none(headers.get("mqctx-failure")),
            is_redriven="mqctx-redrive" in headers,
            is_report=type_ == _REPORT,
        )


def _cached(read: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that remembers what short bytes were read as."""
    remembered = lru_cache(_MOST_CACHED)(read)

    def cached(data: bytes, *more: str) -> Any:
        return (remembered if len(data) <= _MOST_CACHED_BYTES else read)(data, *more)

    return cached


def _place(table: bytes, routing_key: str) -> Place | None:
    return _place_of(decode_table(table, 0, len(table)), routing_key)


def _place_of(headers: Mapping[str, Any], routing_key: str) -> Place | None:
    what, _, queue = routing_key.partition(".")
    if what == "publish":
        queues = tuple(dict.fromkeys(_texts(headers.get("routed_queues"))))
        return Place(kind="publish", queues=queues, **_in_common(headers))
    if what == "deliver":
        redelivered = bool(headers.get("redelivered"))
        return Place(kind="delivery", queue=queue, redelivered=redelivered, **_in_common(headers))
    return None


def _in_common(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of each event."""
    channel = headers.get("channel")
    return {
        "exchange": text_or_none(headers.get("exchange_name")) or "",
        "routing_keys": _texts(headers.get("routing_keys")),
        "channel": channel if isinstance(channel, int) else None,
        **{name: text_or_none(headers.get(name)) for name in ("user", "node", "connection")},
    }


def _report(body: bytes, at: float, lane: str) -> RunReport | None:
    """Return the record of a run; None of what only looks like one."""
    try:
        report = msgspec.json.decode(body, type=RunReport)
        to_plain("context", report.context)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, InvalidValueError):
        return None
    report.at, report.lane = at, lane
    return report if report.began_at.year in _YEARS else None


def _has(headers: Mapping[str, Any], names: Iterable[str]) -> bool:
    return any(name in headers for name in names)


def _texts(value: Any) -> list[str]:
    entries = cast("Iterable[Any]", value) if isinstance(value, list) else ()
    return [each for each in entries if isinstance(each, str)]


def _table(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
