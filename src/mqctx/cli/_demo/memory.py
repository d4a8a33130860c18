"""kombu's memory transport, with the events that RabbitMQ would publish about itself."""

from base64 import b64decode
from collections.abc import Hashable
from time import time
from typing import Any, ClassVar, Final

import msgspec
from kombu.transport import memory

from mqctx.inspection._journeys._events import Reader
from mqctx.inspection._journeys._told import Event, RunReport

__all__ = ["URL", "Transport", "events"]

URL: Final = "memory://"
_reader: Final = Reader()
events: Final[list[Event | RunReport]] = []
"""The events so far, in their order."""


def _note(routing_key: str, properties: dict[str, Any], body: bytes, **more: Any) -> None:
    """Note an event in the form that it has in RabbitMQ's exchange `amq.rabbitmq.trace`."""
    event = _reader.decoded(routing_key, {"properties": properties, **more}, body, time())
    if event is not None:
        events.append(event)


class _Reports(msgspec.Struct, frozen=True):
    """The outlet for the runs that handlers report."""

    def key(self, client: object) -> Hashable:  # noqa: ARG002 - there is one broker
        return "memory"

    def open(self, client: object, exchange: str) -> "_Reports":  # noqa: ARG002 - as above
        return self

    def send(self, routing_key: str, body: bytes) -> None:  # noqa: ARG002 - of one program
        _note("publish.", {"type": "mqctx.run"}, body)

    def close(self) -> None:
        pass


class _Channel(memory.Channel):
    mqctx_outlet: ClassVar = _Reports()

    def _put(self, queue: str, message: dict[str, Any], **options: Any) -> None:
        properties = message["properties"]
        properties["message_id"] = properties["delivery_tag"]
        _note("publish.", *_parts(message), **_route(message), routed_queues=[queue])
        _super(self)._put(queue, message, **options)

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        message: dict[str, Any] = _super(self)._get(queue, timeout)
        _note(f"deliver.{queue}", *_parts(message), **_route(message), redelivered=0)
        return message


class Transport(memory.Transport):
    """The transport, for `kombu.Connection(transport=...)`."""

    Channel = _Channel


def _super(channel: "_Channel") -> Any:  # kombu's methods have no types
    return super(_Channel, channel)


def _parts(message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    message_id = message["properties"]["message_id"]
    return {"headers": message["headers"], "message_id": message_id}, b64decode(message["body"])


def _route(message: dict[str, Any]) -> dict[str, Any]:
    info = message["properties"]["delivery_info"]
    return {"exchange_name": info["exchange"], "routing_keys": [info["routing_key"]]}
