"""Put publishes in their places: in journeys, below runs and dead letters."""

from collections.abc import Callable
from typing import Any

from mqctx._failures.record import Failure
from mqctx.inspection._journeys._model import Message, Node, remember, upward
from mqctx.inspection._journeys._rules import is_below
from mqctx.inspection._journeys._told import Event

__all__ = ["death_by_handler", "move_below", "note_root"]


def note_root(publish: Node, message: Message) -> None:
    """Note by what later messages of the same request show that nothing led to them either."""
    for group in message.groups:
        for mark in filter(None, (publish.place.connection, message.parent_span)):
            remember(group.roots, mark)


def move_below(publish: Node, run: Node) -> None:
    """Join to a run what it says that it has published, if that is still to be handed out."""
    if publish.journey is run.journey and _is_held(publish) and not is_below(run, publish):
        moved = _with_its_death(publish)
        moved.parent, moved.joined, moved.inferred = run, "run", run.inferred


def _is_held(publish: Node) -> bool:
    """Tell whether it is still to be handed out."""
    return publish.is_held and publish.event is not None


def _with_its_death(publish: Node) -> Node:
    """Return the dead-lettering that a handler's copy is below, or else the publish itself."""
    above = publish.parent
    return publish if above is None or publish.joined != "death" else above


def death_by_handler(
    publish: Node, message: Message, event: Event, new_id: Callable[[str], str]
) -> Node | None:
    """Put a dead-lettering above the copy that mqctx sends for a handler; None if it is not one.

    A dead letter that is sent on, or back, keeps the reason that it came with: no new death.
    """
    failure = Failure.from_header(event.written.failure)
    if failure is None or _was_known(publish, message, event):
        return None
    death = Node(
        id=new_id("dead_letter"),
        kind="dead_letter",
        at=publish.at,
        message=message,
        parent=publish.parent,
        joined=publish.joined,
        inferred=publish.inferred,
        is_decided=True,
        details=_details_of(failure, publish.parent),
    )
    publish.parent, publish.joined, publish.inferred = death, "death", False
    return death


def _was_known(publish: Node, message: Message, event: Event) -> bool:
    """Tell whether the reason is one that the message came with."""
    if publish.parent is None or publish.parent.message is None:
        return event.written.is_redriven
    return publish.parent.message.failure == message.failure


def _details_of(failure: Failure, parent: Node | None) -> dict[str, Any]:
    """Return what only dead letters have in JSON."""
    return {
        "queue": failure.queue or _queue_of(parent),
        "reason": ": ".join(filter(None, (failure.type, failure.message))) or "failed",
        "count": failure.failures or 1,
        "exchange": failure.exchange,
        "routing_keys": [] if failure.routing_key is None else [failure.routing_key],
    }


def _queue_of(node: Node | None) -> str | None:
    """Return the queue from which what led to an event was delivered."""
    return next((each.place.queue for each in upward(node) if each.kind == "delivery"), None)
