"""Facts about messages, from the broker and from the records of handlers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from mqctx.inspection._deaths import Death

__all__ = ["NOWHERE", "Event", "Identity", "Place", "RunReport", "Written"]


class Identity(NamedTuple):
    """Marks that tell a message from others wherever it turns up."""

    key: int
    """Of body, ids and the headers of its context: the same when it is sent on unchanged."""
    exact: int
    """Of all that its publisher wrote, to tell apart what has one key."""
    is_unique: bool
    """Whether it has an id, or a context: else strangers may well send the same."""


class Place(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """The broker's facts about an event: where it was, and who did it. Many events share one."""

    kind: Literal["publish", "delivery"]
    exchange: str
    routing_keys: list[str]
    queues: tuple[str, ...] = ()
    """Of a publish: where it was routed to, as far as that can be seen."""
    queue: str = ""
    redelivered: bool = False
    user: str | None = None
    node: str | None = None
    connection: str | None = None
    channel: int | None = None

    @property
    def route(self) -> tuple[str, str]:
        """The exchange and the first routing key."""
        return self.exchange, next(iter(self.routing_keys), "")

    @property
    def host(self) -> str | None:
        """The host of the client, of a connection such as `10.0.0.7:4711 -> 10.0.0.1:5672`."""
        return self.connection and self.connection.partition(" ")[0].rpartition(":")[0]


class Written(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """The properties that the publisher wrote and the broker added to. Events share it."""

    headers: Mapping[str, Any]
    """As plain JSON."""
    context: Mapping[str, Any]
    """As plain JSON."""
    has_context: bool
    """Whether there are headers of a context, whatever they say."""
    message_id: str | None
    correlation_id: str | None
    reply_to: str | None
    key: int
    """The part of `Identity.key` that is not of the body, as `exact` and `is_unique` are."""
    exact: int
    is_unique: bool
    deaths: tuple[Death, ...]
    """The newest first."""
    failure: str | None
    """Why mqctx dead-lettered it, as a header that may say anything."""
    is_redriven: bool
    is_report: bool


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event of the broker: a message was published, or delivered."""

    at: float
    """When we received it, in seconds since 1970: the broker's events have no time."""
    place: Place
    written: Written
    identity: Identity
    bytes: int
    lane: str = ""
    """By which of our channels it came: RabbitMQ keeps the order of those of one channel."""


NOWHERE: Final = Place(kind="publish", exchange="", routing_keys=[])
"""The place of what the broker has no event of."""


class RunReport(msgspec.Struct, kw_only=True):
    """A record of mqctx's own: a handler's run, which has ended."""

    at: float = 0.0
    """When we received it, in seconds since 1970."""
    lane: str = ""
    """By which of our channels it came."""
    context: dict[str, Any] = {}
    message_id: str | None = None
    correlation_id: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    redelivered: bool | None = None
    consumer_tag: str | None = None
    connection: str | None = None
    service: str = ""
    handler: str = ""
    outcome: str = ""
    error: str | None = None
    began_at: Annotated[datetime, msgspec.Meta(tz=True)]
    duration: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    published: list[str] = []
