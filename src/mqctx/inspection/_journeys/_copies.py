"""Which message a delivery is one of, and what of its life that shows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias

from mqctx.inspection._deaths import Death
from mqctx.inspection._journeys._messages import Messages
from mqctx.inspection._journeys._model import Copy, Node, Twins, add_end, count_of, counts_of
from mqctx.inspection._journeys._told import Event
from mqctx.inspection._plain import name_shown

__all__ = ["MOST_COMPARED", "find_copy", "origins_of", "see"]

MOST_COMPARED = 64
"""How many copies of one content are looked at: more of them make it no clearer."""
_NEVER: Final = (0, None)
Counts: TypeAlias = Mapping[tuple[str, str], int]
"""How often a message died, by queue and reason."""
Fit: TypeAlias = Callable[[Twins, Event, Counts], Sequence[Copy]]


def origins_of(event: Event) -> list[str]:
    """Return the queues to which its publisher's exchange may have sent what was delivered.

    The likeliest comes first.
    """
    died = (each.queue for each in reversed(event.written.deaths))
    return [*dict.fromkeys((*died, event.place.queue))]


def find_copy(messages: Messages, event: Event) -> tuple[Copy, bool] | None:
    """Return the copy that was delivered, and whether it may be another one of that content."""
    counts = counts_of(event.written.deaths)
    for origin, fit in _ways(event):
        twins = messages.twins(event.identity, origin)
        if fitting := fit(twins, event, counts):
            return _take(twins, fitting)
    return None


def _ways(event: Event) -> Iterator[tuple[str, Fit]]:
    """Return where to look for what was delivered: published there, or come there by dying."""
    yield event.place.queue, _waiting
    yield event.place.queue, _as_published
    for origin in origins_of(event):
        yield origin, _died


def _waiting(twins: Twins, event: Event, counts: Counts) -> Sequence[Copy]:
    """Return the copies that may be meant if it is delivered for the first time."""
    if event.place.redelivered:
        return ()
    return _exact(_that_brought(counts, twins.waiting), event)


def _as_published(twins: Twins, event: Event, counts: Counts) -> Sequence[Copy]:
    """Return the copies that may be meant if none has died since it was published."""
    return _fitting(_that_brought(counts, twins.copies), event, counts)


def _died(twins: Twins, event: Event, counts: Counts) -> Sequence[Copy]:
    return _fitting(twins.copies[:MOST_COMPARED], event, counts)


def _that_brought(counts: Counts, copies: list[Copy]) -> list[Copy]:
    """Return the copies of messages that were published with these deaths."""
    if not counts:
        return copies[:MOST_COMPARED]  # a stream takes away what they were published with
    return [each for each in copies[:MOST_COMPARED] if each.message.brought == counts]


def _fitting(copies: Iterable[Copy], event: Event, counts: Counts) -> Sequence[Copy]:
    """Return the copies that may be meant, the likeliest first."""
    choose = _of_returned if event.place.redelivered else _of_new
    return _exact(choose(event, *_apart(copies, event.place.queue, counts)), event)


def _of_returned(event: Event, been: list[Copy], new: list[Copy]) -> list[Copy]:
    # From 4.3 on, what was requeued before it died comes as redelivered the first time.
    return [*been, *new] if event.written.deaths else been or new


def _of_new(event: Event, been: list[Copy], new: list[Copy]) -> list[Copy]:
    # Only a stream gives out a message twice that was not returned.
    is_from_stream = "x-stream-offset" in event.written.headers
    return been if is_from_stream and not new else new


def _apart(copies: Iterable[Copy], queue: str, counts: Counts) -> tuple[list[Copy], list[Copy]]:
    """Return the copies that were delivered there since they died last, and those that were not.

    Requeued messages return in the order in which they were delivered.
    """
    been: list[Copy] = []
    new: list[Copy] = []
    for copy in copies:
        if copy.may_have(counts):
            (been if _has_been(copy, queue, counts) else new).append(copy)
    return sorted(been, key=lambda each: each.deliveries[-1].at), new


def _has_been(copy: Copy, queue: str, counts: Counts) -> bool:
    return copy.been.get(queue, _NEVER)[1] == sum(counts.values())


def _exact(copies: Sequence[Copy], event: Event) -> Sequence[Copy]:
    """Return those of which all that the publisher wrote is the same, or else all of them."""
    exact = event.identity.exact
    return [each for each in copies if each.message.identity.exact == exact] or copies


def _take(twins: Twins, fitting: Sequence[Copy]) -> tuple[Copy, bool]:
    """Take the likeliest copy out of those that wait; return whether it may be another one, too."""
    copy = fitting[0]
    uncertain = len(fitting) > 1 or copy.is_uncertain or twins.is_uncertain
    copy.is_uncertain = uncertain
    if not copy.been:
        twins.waiting.remove(copy)
    twins.is_uncertain = uncertain and bool(twins.waiting)
    return copy, uncertain


def see(
    node: Node, copy: Copy, event: Event, *, uncertain: bool, new_id: Callable[[str], str]
) -> None:
    """Note what a delivery shows of the life of its copy, and join it to what led to it."""
    queue = event.place.queue
    node.message, node.copy = copy.message, copy
    if deaths := _own_deaths(copy, event):
        _die(copy, deaths, uncertain=uncertain, new_id=new_id)
        _join(node, copy.died.get((deaths[0].queue, deaths[0].reason)), "death", uncertain)
    else:
        _join(node, copy.message.publish, "message", uncertain)
    attempts, _ = copy.been.get(queue, (_attempts_before(copy, event), 0))
    node.attempt = attempts + 1
    copy.been[queue] = node.attempt, sum(counts_of(event.written.deaths).values())
    copy.message.add_end(node)
    add_end(copy.deliveries, node)


def _attempts_before(copy: Copy, event: Event) -> int:
    """Return how often a queue delivered a copy that it was not seen to deliver before."""
    # From 4.3 on, a dead letter may be called redelivered for what another queue did.
    is_from_elsewhere = event.written.deaths and copy.been
    return int(event.place.redelivered and not is_from_elsewhere)


def _own_deaths(copy: Copy, event: Event) -> tuple[Death, ...]:
    """Return the deaths of a copy itself, not those that it was published with.

    RabbitMQ before 4.0 counts on from those; later ones forget them at the first of its own.
    """
    deaths, brought = event.written.deaths, copy.message.brought
    if event.place.queue == copy.origin and counts_of(deaths) == brought:
        return ()
    return tuple(filter(partial(_is_beyond, brought), deaths)) or deaths


def _is_beyond(brought: Counts, death: Death) -> bool:
    return death.count > brought.get((death.queue, death.reason), 0)


def _die(
    copy: Copy, deaths: Sequence[Death], *, uncertain: bool, new_id: Callable[[str], str]
) -> None:
    """Add the deaths that are seen for the first time, each below the one before."""
    above: Node | None = None
    for death in reversed(deaths):
        way = death.queue, death.reason
        if death.count <= count_of(copy.died.get(way)):
            continue
        node = Node(id=new_id("dead_letter"), kind="dead_letter", at=_seconds(death))
        node.message = copy.message
        _join(node, above or _before_death(copy, death.queue), "death", uncertain)
        node.details = {
            "queue": death.queue,
            "reason": death.reason,
            "count": death.count,
            "exchange": death.exchange,
            "routing_keys": [*map(name_shown, death.routing_keys)],
        }
        copy.died[way] = above = node


def _join(node: Node, parent: Node | None, rule: str, uncertain: bool) -> None:
    node.parent = parent
    if parent is not None:
        node.joined, node.inferred = ("order", True) if uncertain else (rule, False)


def _before_death(copy: Copy, queue: str) -> Node | None:
    """Return the last delivery of a copy from a queue, else its publish."""
    there = (each for each in reversed(copy.deliveries) if each.place.queue == queue)
    return next(there, copy.message.publish)


def _seconds(death: Death) -> float:
    """Return when it died, by the broker's clock: the broker tells whole seconds."""
    return datetime.fromisoformat(death.at).timestamp() if death.at else 0.0
