"""Which message a delivery is one of, and what of its life that shows."""

from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from operator import attrgetter

import msgspec

from mqctx.inspection._deaths import Death, deaths_in
from mqctx.inspection._journeys._messages import Messages
from mqctx.inspection._journeys._model import Copy, Event, Node, Twins

__all__ = ["Sighting", "find_copy", "see", "sighting_of"]

_DEATHS = ("x-death", "x-last-death-queue", "x-first-death-queue")
_MOST_COMPARED = 64
"""How many copies of one content are looked at: more of them make it no clearer."""


class Sighting(msgspec.Struct, frozen=True):
    """What a delivery shows of the life of its message."""

    queue: str
    redelivered: bool
    exact: int
    deaths: tuple[Death, ...]
    """The newest first."""
    counts: dict[tuple[str, str], int]
    is_of_stream: bool

    @property
    def is_first(self) -> bool:
        """Whether its message was neither returned nor dead-lettered before."""
        return not self.redelivered and not self.counts

    @property
    def place(self) -> tuple[str, int]:
        """Where in its life the message is: the queue, and how often it had died."""
        return self.queue, sum(self.counts.values())

    @property
    def origins(self) -> list[str]:
        """The queues to which its publisher's exchange may have sent it, the likeliest first."""
        return [*dict.fromkeys((*(each.queue for each in reversed(self.deaths)), self.queue))]


def sighting_of(event: Event) -> Sighting:
    """Return what a delivery shows."""
    # Most never died: not to look for what is not there takes half the time.
    has_died = any(header in event.headers for header in _DEATHS)
    deaths = deaths_in(event.headers) if has_died else ()
    counts = {(each.queue, each.reason): each.count for each in deaths}
    is_of_stream = "x-stream-offset" in event.headers
    exact = event.identity.exact
    return Sighting(event.queue, event.redelivered, exact, deaths, counts, is_of_stream)


def find_copy(messages: Messages, event: Event, seen: Sighting) -> tuple[Copy, bool] | None:
    """Return the copy that was delivered, and whether it may be another one of that content."""
    for origin in seen.origins:
        twins = messages.twins(event.identity, origin)
        if twins is None:
            continue
        fitting = _fitting(twins, seen)
        if fitting:
            copy = fitting[0]
            uncertain = len(fitting) > 1 or copy.is_uncertain or twins.is_uncertain
            _note(twins, copy, uncertain)
            return copy, uncertain
    return None


def _fitting(twins: Twins, seen: Sighting) -> list[Copy]:
    """Return the copies that may be meant, the likeliest first."""
    if seen.is_first and twins.waiting:
        return _exact(islice(twins.waiting, _MOST_COMPARED), seen)
    new, been = _by_place(twins, seen)
    if seen.redelivered:
        return _exact(been or new, seen)
    if seen.is_of_stream:
        # Nothing but a stream gives out a message twice that was not returned.
        return _exact(new or been, seen)
    return _exact(new, seen)


def _by_place(twins: Twins, seen: Sighting) -> tuple[list[Copy], list[Copy]]:
    """Return the copies that were not yet delivered where this one is, and those that were."""
    new: list[Copy] = []
    been: list[Copy] = []
    for copy in islice(twins.copies.values(), _MOST_COMPARED):
        if copy.may_have(seen.counts):
            (been if seen.place in copy.places else new).append(copy)
    # Requeued messages return in the order in which they were delivered.
    been.sort(key=attrgetter("last_delivered_at"))
    return new, been


def _exact(copies: Iterable[Copy], seen: Sighting) -> list[Copy]:
    """Return those of which all that the publisher wrote is the same, or else all of them."""
    found = list(copies)
    return [each for each in found if each.message.identity.exact == seen.exact] or found


def _note(twins: Twins, copy: Copy, uncertain: bool) -> None:
    copy.is_uncertain = uncertain
    if twins.waiting:
        if twins.waiting[0] is copy:
            twins.waiting.popleft()
        elif not copy.places:
            twins.waiting.remove(copy)
    twins.is_uncertain = bool(twins.waiting) and (twins.is_uncertain or uncertain)


def see(
    node: Node, copy: Copy, seen: Sighting, *, uncertain: bool, new_id: Callable[[str], str]
) -> None:
    """Note what a delivery shows of the life of its copy, and join it to what led to it."""
    node.copy, node.message = copy, copy.message
    _die(copy, seen, uncertain=uncertain, new_id=new_id)
    if seen.deaths:
        newest = seen.deaths[0]
        _join(node, copy.dead.get((newest.queue, newest.reason, newest.count)), "death", uncertain)
    else:
        _join(node, copy.message.publish, "message", uncertain)
    copy.places.add(seen.place)
    attempt = copy.attempts.get(seen.queue, int(seen.redelivered)) + 1
    copy.attempts[seen.queue] = attempt
    node.details |= {"queue": seen.queue, "redelivered": seen.redelivered, "attempt": attempt}
    copy.deliveries.append(node)
    for group in copy.message.groups:
        group.ends.append(node)


def _die(copy: Copy, seen: Sighting, *, uncertain: bool, new_id: Callable[[str], str]) -> None:
    """Add the deaths that are seen for the first time, each below the one before."""
    above: Node | None = None
    for death in reversed(seen.deaths):
        if death.count <= copy.deaths.get((death.queue, death.reason), 0):
            continue
        node = Node(id=new_id("dead_letter"), kind="dead_letter", at=_seconds(death))
        node.message, node.copy = copy.message, copy
        _join(
            node, above or _last_from(copy, death.queue) or copy.message.publish, "death", uncertain
        )
        node.details = {
            "queue": death.queue,
            "reason": death.reason,
            "count": death.count,
            "exchange": death.exchange,
            "routing_keys": list(death.routing_keys),
        }
        copy.deaths[death.queue, death.reason] = death.count
        copy.dead[death.queue, death.reason, death.count] = node
        above = node


def _join(node: Node, parent: Node | None, rule: str, uncertain: bool) -> None:
    node.parent = parent
    if parent is not None:
        node.joined, node.inferred = ("order", True) if uncertain else (rule, False)


def _last_from(copy: Copy, queue: str) -> Node | None:
    """Return the last delivery of a copy from a queue."""
    return next(
        (each for each in reversed(copy.deliveries) if each.details["queue"] == queue), None
    )


def _seconds(death: Death) -> float:
    """Return when it died, by the broker's clock: the broker tells whole seconds."""
    return datetime.fromisoformat(death.at).timestamp() if death.at else 0.0
