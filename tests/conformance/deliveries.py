"""The ways that a message takes from its publisher to the handler that is done with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mqctx import Context
from tests.conformance.bench import Arrival, Bench
from tests.conformance.model import EMPTY, SENT
from tests.conformance.relay import Relay
from tests.drivers.handling import Forward, Settle, Verdict

OTHER = Context(user="grace", step="again")


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One way of coming to a handler."""

    name: str
    means: str
    run: Callable[[Bench], None]
    cannot: Mapping[str, str] = field(default_factory=dict)
    """Queue types that do not have it, with the reason."""


def _requeue(_: bytes) -> Verdict:
    return Settle.REQUEUE


def _reject(_: bytes) -> Verdict:
    return Settle.REJECT


def plain(bench: Bench) -> None:
    """Publish, consume."""
    queue = bench.queue()
    bench.publish(queue)
    bench.expect(bench.consume(queue, 2))


def requeued(bench: Bench) -> None:
    """Requeue each message when it comes first."""
    queue = bench.queue()
    bench.publish(queue)
    met: set[bytes] = set()

    def decide(body: bytes) -> Verdict:
        if body in met:
            return Settle.ACK
        met.add(body)
        return Settle.REQUEUE

    bench.expect(bench.consume(queue, 4, decide), times=2)


def connection_lost(bench: Bench) -> None:
    """Cut the connection while the handler is at the first message."""
    queue = bench.queue()
    bench.publish(queue)
    met: list[bytes] = []
    with Relay(bench.url) as relay:

        def decide(body: bytes) -> Verdict:
            met.append(body)
            if len(met) > 1:
                return Settle.ACK
            relay.cut()
            return Settle.LEAVE

        arrivals = bench.consume_through(relay.url, queue, 3, decide)
    # It came again, with its context.
    bench.expect(arrivals[1:])
    assert arrivals[0].context == SENT


def rejected(bench: Bench) -> None:
    """Reject each message, and consume it from the dead-letter queue."""
    queue, dead = bench.queue_with_dead_letters()
    bench.publish(queue)
    arrivals = bench.consume(queue, 2, _reject)
    bench.expect(arrivals + bench.consume(dead, 2), times=2)


def expired(bench: Bench) -> None:
    """Consume from the dead-letter queue what expired."""
    queue, dead = bench.queue_with_dead_letters(message_ttl=1)
    bench.publish(queue)
    bench.expect(bench.consume(dead, 2))


def overflown(bench: Bench) -> None:
    """Consume from the dead-letter queue what a later message pushed out."""
    queue, dead = bench.queue_with_dead_letters(max_length=1)
    bench.publish(queue, SENT, EMPTY, OTHER)
    bench.expect(bench.consume(dead, 2))


def delivery_limit(bench: Bench) -> None:
    """Requeue each message until the queue gives up on it."""
    queue, dead = bench.queue_with_dead_letters(delivery_limit=1)
    bench.publish(queue)
    arrivals = bench.consume(queue, 4, _requeue)
    bench.expect(arrivals + bench.consume(dead, 2), times=3)


def published_on(bench: Bench) -> None:
    """Publish dead letters on to where they came from, in three rounds, then in other contexts."""
    queue, dead = bench.queue_with_dead_letters()
    sent = _by_body(bench.orders(SENT, EMPTY, SENT))
    bench.publish(queue, SENT, EMPTY, SENT)
    rounds = [bench.consume(queue, 3, _reject)]
    for _ in range(3):
        bench.consume(dead, 3, lambda _: Forward(queue.name))
        rounds.append(bench.consume(queue, 3, _reject))
    for arrivals in rounds:
        assert _contexts(arrivals) == sent
        assert _own_headers(arrivals) == _own_headers(rounds[0])
    changed = dict(zip(sent, (OTHER, OTHER, EMPTY), strict=True))
    bench.consume(dead, 3, lambda body: Forward(queue.name, changed[body]))
    arrivals = bench.consume(queue, 3)
    assert _contexts(arrivals) == changed
    assert [*_own_headers(arrivals).values()].count({}) == 1


def _by_body(orders: list[tuple[Context, bytes]]) -> dict[bytes, Context]:
    return {body: context for context, body in orders}


def _contexts(arrivals: list[Arrival]) -> dict[bytes, Context]:
    return {arrival.body: arrival.context for arrival in arrivals}


def _own_headers(arrivals: list[Arrival]) -> dict[bytes, dict[str, object]]:
    """Return the headers that RabbitMQ did not add."""
    return {
        arrival.body: {k: v for k, v in arrival.headers.items() if not k.startswith("x-")}
        for arrival in arrivals
    }


_STREAM_KEEPS = {"stream": "a stream keeps what was consumed: nothing is put back"}
_ONLY_QUORUM = dict.fromkeys(["classic", "stream"], "only quorum queues count deliveries")
_STREAM_REPEATS = {"stream": "read from its start, a stream gives the earlier rounds again"}

DELIVERIES = [
    Delivery("plain", "published, then consumed", plain),
    Delivery("requeued", "put back by its handler, then handled", requeued, _STREAM_KEEPS),
    Delivery(
        "connection lost", "cut off while it was handled, then delivered again", connection_lost
    ),
    Delivery("rejected", "rejected by its handler, handled as a dead letter", rejected),
    Delivery("expired", "older than the queue's TTL, handled as a dead letter", expired),
    Delivery("pushed out", "over the queue's length limit, handled as a dead letter", overflown),
    Delivery(
        "delivery limit",
        "put back too often, handled as a dead letter",
        delivery_limit,
        _ONLY_QUORUM,
    ),
    Delivery(
        "published on",
        "rejected, and published on by the handler of its dead letter, in three rounds: the same "
        "context, in headers that do not grow; then in another context, and in none: nothing stays "
        "of the first",
        published_on,
        _STREAM_REPEATS,
    ),
]
