"""A message that was looked at: whose it is, where it came from, and why it died."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mqctx._amqp.content_header import ContentHeader
from mqctx._amqp.field_table import Unreadable
from mqctx._core.context import Context
from mqctx._core.rejection import Rejection
from mqctx._failures.record import Failure
from mqctx.inspection._celery import celery_task
from mqctx.inspection._connection import Delivery
from mqctx.inspection._contexts import ContextReader, plain_of
from mqctx.inspection._deaths import Death, deaths_in
from mqctx.inspection._moments import moment
from mqctx.inspection._other_failures import failure_of_others
from mqctx.inspection._plain import plain

__all__ = ["Message", "read_message"]

_TIMESTAMP = re.compile(r"timestamp (\d+)")
_DELIVERIES: Final = ("x-acquired-count", "x-delivery-count")


class Message(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A message of a queue. All text in it is a stranger's: escape it before you show it."""

    queue: str
    position: int
    """1 for the first message of the queue."""
    id: str | None
    """The property `message_id`."""
    exchange: str
    routing_key: str
    context: Context
    verified: bool | None
    """Whether the context's signature counts; None where no key was given, or no context came."""
    rejections: tuple[Rejection, ...] = ()
    """What a service would not restore of the context, and why."""
    deaths: tuple[Death, ...] = ()
    """The broker's own history, the newest first."""
    failure: Mapping[str, Any] | None = None
    """Why it died, as a handler told it: the keys of `mqctx-failure`, also of what others wrote."""
    celery: Mapping[str, Any] | None = None
    published_at: str | None = None
    redelivered: bool = False
    deliveries: int | None = None
    """How often it was delivered before without being acknowledged, as far as the broker tells."""
    headers: Mapping[str, Any] = {}
    """All headers, as JSON can say them."""
    body: bytes = b""
    header: ContentHeader = msgspec.field(default_factory=ContentHeader)
    """The properties as bytes."""
    tag: int = 0
    """The delivery tag, which counts on the channel that it was read on."""
    plain_context: Mapping[str, Any] = {}
    """The context, as plain JSON."""

    @property
    def came_from(self) -> str | None:
        """The queue that it died in last."""
        told = (self.failure or {}).get("queue")
        if not self.deaths or (told is not None and self._failed_last):
            return told
        return self.deaths[0].queue

    @property
    def _failed_last(self) -> bool:
        # Which came last, the handler's failure or the broker's death? The Z would sort wrongly.
        died = self.deaths[0].at
        failed = (self.failure or {}).get("at")
        return died is None or failed is None or failed[:-1] >= died[:-1]

    @property
    def at(self) -> str | None:
        """When it died, or was published if that is not known."""
        times = [death.at for death in self.deaths if death.at]
        if self.failure and "at" in self.failure:
            times.append(self.failure["at"])
        return max(times, key=lambda time: time[:-1]) if times else self.published_at

    def as_json(self) -> dict[str, Any]:
        """Return the message as the object that `mqctx inspect --json` prints; without its body."""
        return {
            "queue": self.queue,
            "position": self.position,
            "id": self.id,
            "exchange": _shown(self.exchange),
            "routing_key": _shown(self.routing_key),
            "from": self.came_from,
            "bytes": len(self.body),
            "published_at": self.published_at,
            "redelivered": self.redelivered,
            "deliveries": self.deliveries,
            "context": self.plain_context,
            "verified": self.verified,
            "rejections": [_of_rejection(each) for each in self.rejections],
            "deaths": [each.as_json() for each in self.deaths],
            "failure": self.failure,
            "celery": self.celery,
            "headers": self.headers,
        }


def _shown(name: str) -> str:
    """Return a name of an exchange or a routing key, whose bytes need not be UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _of_rejection(rejection: Rejection) -> dict[str, Any]:
    keys = ("header", "key", "reason", "detail")
    return {key: getattr(rejection, key) for key in keys}


def read_message(queue: str, position: int, delivery: Delivery, reader: ContextReader) -> Message:
    """Return what a delivery says; never raises."""
    header = delivery.header
    raw = header.headers
    headers: dict[str, Any] = plain(raw)
    restored = reader.read(raw)
    return Message(
        queue=queue,
        position=position,
        id=_text(header.get("message_id")),
        exchange=delivery.exchange,
        routing_key=delivery.routing_key,
        context=restored.context,
        verified=restored.verified,
        rejections=restored.rejections,
        deaths=deaths_in(headers),
        failure=_failure(raw),
        celery=celery_task(headers, delivery.body),
        published_at=_published_at(header, headers),
        redelivered=delivery.redelivered,
        deliveries=_deliveries(headers),
        headers=headers,
        body=delivery.body,
        header=header,
        tag=delivery.tag,
        plain_context=plain_of(restored.context),
    )


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(plain(value))


def _failure(headers: Mapping[str, Any]) -> dict[str, Any] | None:
    # Ours first: what others wrote may be of an earlier hop, kept by whoever sent it on.
    own = Failure.from_header(headers.get("mqctx-failure"))
    told = failure_of_others(headers) if own is None else msgspec.to_builtins(own)
    if told is None:
        return None
    # A stranger may have written it, and times are compared.
    times = {key: moment(told[key]) for key in ("at", "first_at") if key in told}
    return {key: value for key, value in {**told, **times}.items() if value is not None}


def _published_at(header: ContentHeader, headers: Mapping[str, Any]) -> str | None:
    # Written by RabbitMQ's own interceptors, more exactly than the property can say it.
    for name in ("x-opt-rabbitmq-received-time", "timestamp_in_ms"):
        if exact := moment(headers.get(name)):
            return exact
    value = header.get("timestamp")
    # Milliseconds, mostly, which are seconds beyond the year 9999.
    if isinstance(value, Unreadable) and (match := _TIMESTAMP.match(value.text)):
        return moment(int(match[1]))
    return moment(value)


def _deliveries(headers: Mapping[str, Any]) -> int | None:
    counts = [headers[name] for name in _DELIVERIES if isinstance(headers.get(name), int)]
    return max(counts, default=None)
