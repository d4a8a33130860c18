"""A message that was looked at: whose it is, where it came from, and why it died."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from mqctx._amqp.content_header import ContentHeader
from mqctx._amqp.field_table import Unreadable
from mqctx._core.rejection import Rejection
from mqctx._failures.record import Failure, known_in
from mqctx.inspection._contexts import ContextReader, Restored, plain_of
from mqctx.inspection._deaths import Death, deaths_in
from mqctx.inspection._dramatiq import DramatiqMessage, read_body
from mqctx.inspection._moments import Period, moment
from mqctx.inspection._other_failures import failure_of_others
from mqctx.inspection._plain import known, name_shown, plain
from mqctx.inspection._tasks import celery_task, taskiq_task

if TYPE_CHECKING:
    from mqctx._core.context import Context
    from mqctx.inspection._connection import Delivery

__all__ = ["Failure", "Message"]

_NOT_DRAMATIQS: Final = DramatiqMessage()
_TIMESTAMP = re.compile(r"timestamp (\d+)")
# Written by RabbitMQ's own interceptors, more exactly than the property can say it.
_EXACT_TIMES: Final = ("x-opt-rabbitmq-received-time", "timestamp_in_ms")
_TIMES: Final = ("at", "first_at")
_DELIVERIES: Final = ("x-acquired-count", "x-delivery-count")


class Message:
    """A message of a queue. All text in it is a stranger's: escape it before you show it.

    Its contents are read when they are asked for.
    """

    def __init__(
        self, queue: str, position: int, delivery: "Delivery", contexts: ContextReader
    ) -> None:
        self.queue: Final = queue
        self.position: Final = position
        """1 for the first message of the queue."""
        self.exchange: Final = delivery.exchange
        self.routing_key: Final = delivery.routing_key
        self.redelivered: Final = delivery.redelivered
        self.body: Final = delivery.body
        self.header: Final = delivery.header
        """The properties as bytes."""
        self.tag: Final = delivery.tag
        """The delivery tag, which counts on the channel that it was read on."""
        self._headers: Final[Mapping[str, Any]] = delivery.header.headers
        by_dramatiq = read_body(self.body) or _NOT_DRAMATIQS
        restored = _restored(contexts, self._headers, by_dramatiq.options)
        self.context: Final[Context] = restored.context
        self.plain_context: Final[Mapping[str, Any]] = plain_of(restored.context)
        """The context, as plain JSON."""
        self.verified: Final[bool | None] = restored.verified
        """Whether the context's signature counts; None without a context or a key."""
        self.rejections: Final[tuple[Rejection, ...]] = restored.rejections
        """The values of the context that a service would not restore, and why."""
        self.deaths: Final[tuple[Death, ...]] = deaths_in(self._headers)
        """The broker's own history, the newest first."""
        self._told: Final = _told(self._headers, by_dramatiq)
        self.failure: Final[Mapping[str, Any] | None] = self._told or None
        """Why it died, as its handler recorded it: the keys of `Failure`, whoever wrote it."""

    @property
    def id(self) -> str | None:
        """The property `message_id`."""
        value = self.header.get("message_id")
        return None if value is None else str(plain(value))

    @cached_property
    def headers(self) -> Mapping[str, Any]:
        """All headers, as JSON can say them."""
        headers: dict[str, Any] = plain(self._headers)
        return headers

    @cached_property
    def celery(self) -> Mapping[str, Any] | None:
        """The task that it asks for, if Celery sent it."""
        return celery_task(self.headers, self.body)

    @property
    def task(self) -> Mapping[str, Any] | None:
        """The task that it asks for, with id and retries, if Celery or taskiq sent it."""
        return self.celery or taskiq_task(self.headers)

    @property
    def published_at(self) -> str | None:
        """When it was published, if its properties say so."""
        return _published_at(self.header, self._headers)

    @property
    def deliveries(self) -> int | None:
        """How often it was delivered before and not acknowledged, as far as the broker says."""
        counts = map(self._headers.get, _DELIVERIES)
        return max((count for count in counts if isinstance(count, int)), default=None)

    @property
    def came_from(self) -> str | None:
        """The queue that it died in last."""
        told = self._told.get("queue") if self._failed_last else None
        return next(filter(None, (told, *(death.queue for death in self.deaths))), None)

    @property
    def _failed_last(self) -> bool:
        # Which came last, the handler's failure or the broker's death? The Z would sort wrongly.
        died, failed = next((death.at for death in self.deaths), None), self._told.get("at")
        return died is None or failed is None or failed[:-1] >= died[:-1]

    @cached_property
    def at(self) -> str | None:
        """When it died, or was published if that is not known."""
        period = Period()
        period.add(self._told.get("at"))
        for death in self.deaths:
            period.add(death.at)
        return period.last or self.published_at

    def as_json(self) -> dict[str, Any]:
        """Return the message as the object that `mqctx inspect --json` prints; without its body."""
        return {
            "queue": self.queue,
            "position": self.position,
            "id": self.id,
            "exchange": name_shown(self.exchange),
            "routing_key": name_shown(self.routing_key),
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


def _of_rejection(rejection: Rejection) -> dict[str, Any]:
    keys = ("header", "key", "reason", "detail")
    return {key: getattr(rejection, key) for key in keys}


def _restored(
    contexts: ContextReader, headers: Mapping[str, Any], options: Mapping[str, Any]
) -> Restored:
    """Return the context in the headers, or else in the options of dramatiq's message."""
    restored = contexts.read(headers)
    return restored if restored.context or not options else contexts.read(options)


def _told(headers: Mapping[str, Any], by_dramatiq: DramatiqMessage) -> dict[str, Any]:
    """Return why a message died, nothing if that is unknown."""
    # Ours first: what others wrote may be of an earlier hop, kept by whoever sent it on.
    own = known_in(headers.get("mqctx-failure"))
    told = own or failure_of_others(headers) or by_dramatiq.failure
    # So that times can be compared: a stranger may have written them.
    return known({**told, **{key: moment(told[key]) for key in _TIMES if key in told}})


def _published_at(header: ContentHeader, headers: Mapping[str, Any]) -> str | None:
    exact = (moment(plain(headers[name])) for name in _EXACT_TIMES if name in headers)
    return next(filter(None, exact), None) or moment(_timestamp(header))


def _timestamp(header: ContentHeader) -> Any:
    value = header.get("timestamp")
    # Milliseconds, mostly, which are seconds beyond the year 9999.
    match = _TIMESTAMP.match(value.text) if isinstance(value, Unreadable) else None
    return int(match[1]) if match else value
