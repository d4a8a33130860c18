"""How fast the machine was, beside the one that the targets in microseconds come from.

OpenTelemetry tells: how long it took there is known, and here it is timed in the same rounds as
what is compared. It is work of the same kind as ours, and so long that noise hardly matters.
"""

from collections.abc import Mapping

from benchmarks.rounds import Times, added

_ADDED_THERE: Mapping[str, Mapping[str, float]] = {
    "publish": {"pika": 13.0, "kombu": 9.3, "aio-pika": 19.5},
    "consume": {"pika": 21.9, "kombu": 18.3, "aio-pika": 24.4},
}
"""Microseconds that its usual way with a client added to a publish and to a consume."""


def scale_to_there(times: Times, doing: str, client: str, otel: str, raw: str) -> float:
    """Return what turns seconds here into microseconds there, by the variants of these names."""
    return _ADDED_THERE[doing][client] / added(times, otel, raw).median
