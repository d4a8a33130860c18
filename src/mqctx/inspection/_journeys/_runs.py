"""Join the runs of handlers to their deliveries, by mqctx's own records."""

from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypeAlias

from mqctx.inspection._journeys._messages import Messages
from mqctx.inspection._journeys._model import Message, Node, deliveries_of, lateness, publishes_of
from mqctx.inspection._journeys._told import RunReport

__all__ = ["Consumers", "Runs", "details_of"]

_MOST_SPANS: Final = 100_000
_MOST_PUBLISHED: Final = 100
Consumers: TypeAlias = Callable[[str], list[str]]
"""Returns the connections that have a consumer of this tag, by the broker's names."""


class Runs:
    """Find the delivery of a run, and remember the connections of consumers that were found.

    Args:
        messages: The messages that are kept.
        consumers: Finds the connections of a consumer tag.
    """

    def __init__(self, messages: Messages, consumers: Consumers) -> None:
        self._messages = messages
        self._consumers = consumers
        self._by_span: dict[str, Node] = {}
        self._queues: dict[tuple[str, str], set[str]] = {}
        """The queues that handlers are known to read."""

    def add(self, run: Node, report: RunReport) -> None:
        """Note what a run says that it has published."""
        self._by_span.update(dict.fromkeys(report.published[:_MOST_PUBLISHED], run))
        while len(self._by_span) > _MOST_SPANS:
            del self._by_span[next(iter(self._by_span))]

    def that_published(self, message: Message) -> Node | None:
        """Return the run that names a message."""
        return None if message.span is None else self._by_span.get(message.span)

    def published_by(self, report: RunReport) -> Iterator[Node]:
        """Return the publishes that a run names, as far as they were seen."""
        for span in report.published[:_MOST_PUBLISHED]:
            yield from publishes_of(self._messages.of_span(span))

    def delivery_of(self, report: RunReport) -> tuple[Node | None, bool]:
        """Return the delivery that a run handled, and whether it may be another one."""
        fitting, is_stranger = self._fitting(report)
        sure = fitting if len(fitting) == 1 else self._here(fitting, report)
        who = report.service, report.handler
        if len(sure) == 1:
            self._queues.setdefault(who, set()).add(sure[0].place.queue)
            return sure[0], is_stranger
        likely = sure or self._likely(fitting, who)
        # Handlers take messages in their order, as a rule.
        return (min(likely, key=attrgetter("is_guessed")), True) if likely else (None, False)

    def _fitting(self, report: RunReport) -> tuple[list[Node], bool]:
        """Return the deliveries that fit, and whether none is known by the name that a run says."""
        named = self._named(report)
        candidates = named or self._messages.ends_of(report.context)
        fitting = [*filter(partial(_fits, report), candidates)]
        # It may be delivered again before this is decided, but not before the record was there.
        earlier = [each for each in fitting if each.at <= report.at + lateness(each, report)]
        # It may go by another name in its headers than in its body, where both were instrumented.
        return earlier or fitting, named == []

    def _named(self, report: RunReport) -> list[Node] | None:
        """Return the deliveries of the message that a run names, None if it names none."""
        span = report.context.get("span_id")
        if isinstance(span, str):
            return deliveries_of(self._messages.of_span(span))
        if report.message_id is not None:
            return deliveries_of(self._messages.of_id(report.message_id))
        return None

    def _here(self, deliveries: list[Node], report: RunReport) -> list[Node]:
        """Return those on the connection that ran the handler, as far as that is known."""
        # An address may be another one by the time the broker sees it.
        own = f"{report.connection} "
        known = self._consumers(report.consumer_tag) if report.consumer_tag else []
        published = {_channel_of(each) for each in self.published_by(report)}
        return _that_fit_first(
            deliveries,
            lambda each: f"{each.place.connection} ".startswith(own),
            lambda each: [each.place.connection] == known,
            lambda each: _channel_of(each) in published,
        )

    def _likely(self, deliveries: list[Node], who: tuple[str, str]) -> list[Node]:
        """Return those from queues that this handler is known to read, or else no other one."""
        own = self._queues.get(who, set[str]())
        others = set[str]().union(*self._queues.values()) - own
        likely = _that_fit_first(
            deliveries,
            lambda each: each.place.queue in own,
            lambda each: each.place.queue not in others,
        )
        return likely or deliveries


def _that_fit_first(deliveries: list[Node], *conditions: Callable[[Node], bool]) -> list[Node]:
    """Return the deliveries that fit the first of the conditions that any fits."""
    fitting = ([*filter(each, deliveries)] for each in conditions)
    return next(filter(None, fitting), list[Node]())


def _channel_of(node: Node) -> tuple[str | None, int | None]:
    return node.place.connection, node.place.channel


def _fits(report: RunReport, delivery: Node) -> bool:
    if delivery.has_run or delivery.place.route != (report.exchange, report.routing_key):
        return False
    if delivery.event is not None and report.correlation_id not in (
        None,
        delivery.event.written.correlation_id,
    ):
        return False
    return report.redelivered in (None, delivery.place.redelivered)


def details_of(report: RunReport) -> dict[str, Any]:
    """Return what only a run has in JSON."""
    return {
        "at": report.began_at.isoformat().replace("+00:00", "Z"),
        "context": report.context,
        "service": report.service,
        "handler": report.handler,
        "outcome": report.outcome,
        "error": report.error,
        "duration": report.duration,
    }
