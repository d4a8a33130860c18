"""A broker that is made up: it tells a joiner what happens, and hands out what it joined."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pika

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection._journeys._events import Reader
from mqctx.inspection._journeys._joiner import Joiner
from mqctx.inspection._journeys._told import Event, RunReport

Json = dict[str, Any]


class Story:
    """Tell events one after another, a hundredth of a second apart unless told otherwise."""

    def __init__(self, **settings: Any) -> None:
        self.joiner = Joiner(**settings)
        self.reader = Reader()
        self.now = 1_000_000.0
        self.lane = ""
        """By which channel the next events come."""
        self.told: list[Event | RunReport] = []

    def publish(
        self,
        exchange: str,
        *queues: str,
        key: str = "key",
        body: bytes = b"{}",
        at: str = "api",
        channel: int = 1,
        user: str = "guest",
        headers: Json | None = None,
        **properties: Any,
    ) -> None:
        """Tell that the connection `at` published a message, which went to these queues."""
        self._tell(
            f"publish.{exchange}",
            body,
            {
                "exchange_name": exchange,
                "routing_keys": [key],
                "routed_queues": [*queues],
                "properties": {**properties, "headers": headers or {}},
                **_sender(at, channel, user),
            },
        )

    def deliver(
        self,
        queue: str,
        *,
        exchange: str = "",
        key: str = "key",
        body: bytes = b"{}",
        at: str = "worker",
        channel: int = 1,
        user: str = "guest",
        redelivered: bool = False,
        headers: Json | None = None,
        deaths: Sequence[Json] = (),
        **properties: Any,
    ) -> None:
        """Tell that a message was delivered from a queue to the connection `at`."""
        died = {"x-death": [*deaths]} if deaths else {}
        self._tell(
            f"deliver.{queue}",
            body,
            {
                "exchange_name": exchange,
                "routing_keys": [key],
                "redelivered": int(redelivered),
                "properties": {**properties, "headers": {**(headers or {}), **died}},
                **_sender(at, channel, user),
            },
        )

    def run(
        self,
        *published: str,
        exchange: str = "",
        key: str = "key",
        handler: str = "on_order",
        headers: Json | None = None,
        **more: Any,
    ) -> None:
        """Tell that a handler ended: its report is published, which the firehose shows."""
        record = {
            "context": self._context(headers or {}),
            "exchange": exchange,
            "routing_key": key,
            "redelivered": False,
            "service": "billing",
            "handler": handler,
            "outcome": "returned",
            "error": None,
            "began_at": "1970-01-12T13:46:40.015Z",
            "duration": 0.25,
            "published": published,
            **more,
        }
        self._tell(
            "publish.mqctx.journeys",
            json.dumps(record).encode(),
            {"exchange_name": "mqctx.journeys", "properties": {"type": "mqctx.run"}},
        )

    def tap(
        self, key: str, *, body: bytes = b"{}", headers: Json | None = None, **properties: Any
    ) -> None:
        """Tell of a message that was published to the exchange that is tapped."""
        properties["headers"] = headers or {}
        header = header_of(**properties)
        self.joiner.take(self.reader.tap("tapped", key, header, body, self.now))
        self.now += 0.01

    def _context(self, headers: Json) -> Mapping[str, Any]:
        event = self.reader.tap("", "", header_of(headers=headers), b"", self.now)
        return event.written.context

    def _tell(self, routing_key: str, body: bytes, headers: Json) -> None:
        header = header_of(headers=headers)
        event = self.reader.firehose(routing_key, header, body, self.now, self.lane)
        assert event is not None
        self.told.append(event)
        self.joiner.take(event)
        self.now += 0.01

    def wait(self, seconds: float) -> list[Json]:
        """Let time pass, and return what is handed out meanwhile."""
        self.now += seconds
        return [record for journey in self.joiner.advance(self.now) for record in journey]

    def end(self) -> list[Json]:
        """Return all that is left."""
        return [record for journey in self.joiner.finish() for record in journey]


def header_of(**properties: Any) -> ContentHeader:
    """Return properties as a client sends them."""
    return ContentHeader(b"".join(pika.BasicProperties(**properties).encode()))


def _sender(at: str, channel: int, user: str) -> Json:
    return {
        "user": user,
        "node": "rabbit@one",
        "connection": at if " -> " in at else f"10.0.0.1:{at} -> 10.0.0.9:5672",
        "channel": channel,
    }


def death(queue: str, reason: str = "rejected", count: int = 1, at: int = 1_000_000) -> Json:
    """Return an entry of x-death."""
    return {
        "queue": queue,
        "reason": reason,
        "count": count,
        "exchange": "",
        "routing-keys": [queue],
        "time": datetime.fromtimestamp(at, UTC),
    }


def edges(records: list[Json]) -> list[tuple[str, str | None, str | None, bool]]:
    """Return id, parent, rule and whether it is inferred, of each record."""
    return [(r["id"], r["parent"], r["joined"], r["inferred"]) for r in records]
