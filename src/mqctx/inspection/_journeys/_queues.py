"""Ask the management API for the facts about a vhost's queues that a trace needs."""

from contextlib import suppress
from time import monotonic
from typing import Any, Final

from mqctx.inspection._journeys._drops import Tally
from mqctx.inspection._management import Management, ManagementError

__all__ = ["FIREHOSE", "Queues"]

FIREHOSE: Final = "amq.rabbitmq.trace"
"""The exchange that RabbitMQ publishes its events to."""

_NO_QUEUE: Final = "amq.rabbitmq.reply-to"
"""How the names of what looks like queues begin where a direct reply goes."""
_REMEMBERED: Final = 10.0
_MOST_REMEMBERED: Final = 10_000
_MOST_A_SECOND: Final = 20
_CONSUMERS: Final = 1.0
_KINDS: Final = ("publish", "deliver_get")
"""The statistics that count what makes an event each."""
_SAMPLES: Final = {"msg_rates_age": "5", "msg_rates_incr": "5"}
"""Asks for the present counts, and those of five seconds ago."""


class Queues:
    """Ask which queues there are, and how much happens in the vhost."""

    def __init__(self, management: Management, vhost: str) -> None:
        self._management = management
        self._vhost = vhost
        self._known: dict[str, tuple[bool, float]] = {}
        self._consumers: dict[str, list[str]] = {}
        self._consumers_until = 0.0
        self._is_shared = False
        self._second = 0
        self._asked = 0

    def exist(self, queue: str) -> bool:
        """Tell whether there is such a queue; True if that is unknown."""
        if queue.startswith(_NO_QUEUE):
            return False
        now = monotonic()
        exists, until = self._known.get(queue, (True, 0.0))
        if now < until:
            return exists
        if not self._may_ask(now):
            return True  # and not remembered: asked again when there is time
        exists = self._ask(queue)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[queue] = exists, now + _REMEMBERED
        return exists

    def consumers(self, tag: str) -> list[str]:
        """Return the connections that have a consumer of this tag."""
        now = monotonic()
        if tag not in self._consumers and now > self._consumers_until:
            self._consumers_until = now + _CONSUMERS
            with suppress(ManagementError):
                self._consumers = self._connections_by_tag()
        return self._consumers.get(tag, [])

    def _connections_by_tag(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for each in self._management.get("consumers", self._vhost):
            channel: Any = each.get("channel_details")
            if channel and (name := channel.get("connection_name")):
                found.setdefault(str(each.get("consumer_tag")), []).append(name)
        return found

    def tally(self) -> Tally | None:
        """Return how many events the vhost had, by its statistics; None if that is unknown.

        They count each delivery of an event to others, too: an event less, for all they tell.
        """
        with suppress(ManagementError):
            self._is_shared = self._is_shared or self._have_others()
            if not self._is_shared:
                found = self._management.get("vhosts", self._vhost, **_SAMPLES)
                return _tally(found.get("message_stats", {}))
        return None

    def _have_others(self) -> bool:
        """Tell whether others than us receive the events, too."""
        path = ("exchanges", self._vhost, FIREHOSE, "bindings", "source")
        return len(self._management.get(*path)) > 1

    def _may_ask(self, now: float) -> bool:
        """Tell whether it is not too often: each question holds the trace up."""
        if int(now) != self._second:
            self._second, self._asked = int(now), 0
        self._asked += 1
        return self._asked <= _MOST_A_SECOND

    def _ask(self, queue: str) -> bool:
        try:
            self._management.get("queues", self._vhost, queue, columns="name")
        except ManagementError as error:
            return error.status != 404
        return True


def _tally(stats: dict[str, Any]) -> Tally:
    details = (stats.get(f"{kind}_details", {}) for kind in _KINDS)
    samples = [[each["sample"] for each in kind.get("samples", ())] for kind in details]
    rests = all(len({*kind}) <= 1 for kind in samples)
    return Tally(sum(stats.get(kind, 0) for kind in _KINDS), rests)
