"""A journey as JSON: one object for each of its events."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from mqctx.inspection._journeys._model import Journey, Node, upward

__all__ = ["Record", "records_of", "timestamp"]

Record = dict[str, Any]


def records_of(journey: Journey) -> list[Record]:
    """Return what is held of a journey, parents before children, each once."""
    return [_record(node, journey) for node in _parents_first(journey.held)]


def _parents_first(nodes: Iterable[Node]) -> list[Node]:
    """Return the nodes in the order of time, but none before its parent."""
    ordered: list[Node] = []
    held = sorted(nodes, key=_moment)
    missing = {node.id for node in held}
    for node in held:
        line = list(takewhile(lambda above: above.id in missing, upward(node)))
        missing.difference_update(each.id for each in line)
        ordered.extend(reversed(line))
    return ordered


def _moment(node: Node) -> float:
    """Return when it was: the broker's clock gives whole seconds only."""
    if node.kind == "dead_letter" and node.parent is not None:
        return max(node.at, node.parent.at)
    return node.at


def _record(node: Node, journey: Journey) -> Record:
    event, place, message = node.event, node.place, node.message
    record: Record = {
        "kind": node.kind,
        "journey": journey.name,
        "by": journey.by,
        "id": node.id,
        "parent": node.parent and node.parent.id,
        "joined": node.joined,
        "inferred": node.inferred,
        "at": timestamp(node.at),
        "context": message.context if message is not None else {},
    }
    if event is not None:
        record |= {
            "exchange": place.exchange,
            "routing_keys": place.routing_keys,
            "message_id": event.written.message_id,
            "correlation_id": event.written.correlation_id,
            "bytes": event.bytes,
            "headers": event.written.headers,
            "user": place.user,
            "node": place.node,
            "connection": place.connection,
            "channel": place.channel,
        }
    return record | _of_kind(node)


def _of_kind(node: Node) -> Record:
    """Return what only its kind has."""
    if node.kind == "publish":
        return {"queues": node.queues}
    if node.kind == "delivery":
        return {
            "queue": node.place.queue,
            "redelivered": node.place.redelivered,
            "attempt": node.attempt,
            "wait": node.parent and round(node.at - node.parent.at, 6),
        }
    return node.details or {}


def timestamp(at: float) -> str:
    """Return a time in seconds since 1970 as RFC 3339, in UTC."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
