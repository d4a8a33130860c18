"""Dead letters and journeys as the commands print them, made up but like real ones."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

Json = dict[str, object]

BEGAN = datetime(2026, 11, 28, 6, 43, 48, 123_456, tzinfo=UTC)
TENANTS = ["acme", "initech", "umbrella", "globex"] + [f"tenant-{i:02}" for i in range(4, 50)]
FAILURES = [
    ("billing.CardExpired", "card of order 4711 expired 09/26", "billing/cards.py:88 in charge"),
    ("TimeoutError", "partner did not answer within 30 s", "shipping/partner.py:41 in book"),
    ("httpx.ConnectError", "[Errno 111] Connection refused", "billing/gateway.py:19 in post"),
    ("KeyError", "'street'", "shipping/label.py:12 in address"),
    ("sqlalchemy.exc.IntegrityError", "duplicate key value", "store/save.py:7 in save"),
]  # fmt: skip
TRACEBACK = """Traceback (most recent call last):
  File "billing/handlers.py", line 31, in on_order
    receipt = charge(order)
  File "billing/cards.py", line 88, in charge
    raise CardExpired(f"card of order {order.id} expired {order.card.until}")
billing.errors.CardExpired: card of order 4711 expired 09/26
"""


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def dead_letters(count: int, *, seed: int = 1) -> Iterator[Json]:
    """Yield messages of 50 tenants: most with a failure, others as the broker alone tells."""
    dice = random.Random(seed)
    for position in range(count):
        yield _dead_letter(position, BEGAN + timedelta(seconds=430 * position / count), dice)


def _dead_letter(position: int, at: datetime, dice: random.Random) -> Json:
    tenant = TENANTS[min(int(dice.expovariate(0.14)), 49)]
    context: Json = {
        "request_id": f"req-{dice.randrange(1 << 40):010x}",
        "tenant": tenant,
        "user": f"{dice.choice(['ada', 'grace', 'edsger', 'barbara'])}@{tenant}.example",
        "order": {"id": 4000 + position, "retry": False},
    }
    service = dice.choice(["billing", "shipping"])
    known = dice.random() < 0.85
    reason = "rejected" if known else dice.choice(["rejected", "expired", "delivery_limit"])
    failed = dice.choices(FAILURES, weights=[60, 18, 12, 6, 4])[0]
    died: Json = {
        "queue": f"orders.{service}", "reason": reason, "count": dice.choice([1, 1, 1, 2, 3]),
        "exchange": "orders", "routing_keys": ["order.created"], "at": iso(at)[:19] + "Z",
    }  # fmt: skip
    return {
        "queue": "orders.dead", "position": position, "id": f"m-{position:05}",
        "exchange": "orders.dead", "routing_key": "order.created", "from": f"orders.{service}",
        "bytes": dice.randrange(200, 9000), "published_at": iso(at - timedelta(seconds=3)),
        "redelivered": dice.random() < 0.3, "deliveries": dice.randrange(1, 4),
        "context": context if dice.random() < 0.99 else {}, "verified": dice.choice([None, True]),
        "rejections": [], "deaths": [died] if not known or dice.random() < 0.5 else [],
        "failure": _failure(failed, service, at, dice) if known else None, "celery": None,
        "headers": {
            "mqctx": "eyJyZXF1ZXN0X2lkIjoi" * 4, "x-first-death-queue": f"orders.{service}",
            "traceparent": f"00-{dice.randrange(1 << 127):032x}-{dice.randrange(1 << 63):016x}-01",
            "priority": 1.5, "tags": ["eu", "b2b"],
        },
    }  # fmt: skip


def _failure(failed: tuple[str, str, str], service: str, at: datetime, dice: random.Random) -> Json:
    name, text, where = failed
    return {
        "type": name, "message": text, "where": where,
        "fingerprint": f"{len(name):016x}",
        "at": iso(at), "first_at": iso(at - timedelta(minutes=4)), "failures": 1,
        "attempt": dice.randrange(1, 4), "service": service,
        "handler": f"{service}.handlers.on_order", "exchange": "orders",
        "routing_key": "order.created", "queue": f"orders.{service}",
        "bound": {"order_total": "19.90"}, "traceback": TRACEBACK if dice.random() < 0.2 else None,
    }  # fmt: skip


class _Story:
    """The events of one journey, in the order that `trace` prints them."""

    def __init__(self, journey: str, context: Json, dice: random.Random) -> None:
        self.events: list[Json] = []
        self.dice = dice
        self._common: Json = {"journey": journey, "by": "request_id", "context": context}

    def _add(
        self, kind: str, parent: str | None, joined: str | None, at: datetime, **more: object
    ) -> str:
        name = f"{self._common['journey']}/{len(self.events)}"
        inferred = joined in {"client", "time"}
        first: Json = {"kind": kind, **self._common, "id": name, "parent": parent, "joined": joined}
        self.events.append({**first, "inferred": inferred, "at": iso(at), **more})
        return name

    def publish(
        self, parent: str | None, at: datetime, exchange: str, key: str, queues: list[str]
    ) -> str:
        joined = None if parent is None else "run"
        return self._add(
            "publish", parent, joined, at, queues=queues, **self._message(exchange, key)
        )

    def deliver(self, parent: str, at: datetime, wait: float, queue: str, attempt: int = 1) -> str:
        return self._add(
            "delivery", parent, "message", at, queue=queue, redelivered=attempt > 1,
            attempt=attempt, wait=wait, **self._message("orders", "order.created"),
        )  # fmt: skip

    def run(
        self, parent: str, at: datetime, handler: str, seconds: float, error: str | None = None
    ) -> str:
        outcome = "raised" if error else "returned"
        return self._add(
            "run", parent, "run", at, service=handler.split(".", maxsplit=1)[0], handler=handler,
            outcome=outcome, error=error, duration=seconds,
        )  # fmt: skip

    def dead(self, parent: str, at: datetime, queue: str) -> str:
        return self._add(
            "dead_letter", parent, "death", at.replace(microsecond=0), queue=queue,
            reason="rejected", count=1, exchange="orders.dead", routing_keys=["order.created"],
        )  # fmt: skip

    def inferred(self, parent: str, at: datetime, exchange: str, key: str) -> str:
        return self._add("publish", parent, "client", at, queues=[], **self._message(exchange, key))

    def _message(self, exchange: str, key: str) -> Json:
        return {
            "exchange": exchange, "routing_keys": [key], "correlation_id": None,
            "message_id": f"{self.dice.randrange(1 << 63):016x}",
            "bytes": self.dice.randrange(90, 4000),
            "headers": {"content-language": "en", "mqctx": "eyJyZXF1ZXN0X2lkIjoi"},
            "user": "orders", "node": "rabbit@one",
            "connection": "10.0.0.7:51544 -> 10.0.0.2:5672", "channel": 1,
        }  # fmt: skip


def journeys(count: int, *, seed: int = 2) -> Iterator[Json]:
    """Yield journeys of an order: fan-out to three queues, retries, a dead letter now and then."""
    dice = random.Random(seed)
    for i in range(count):
        yield from _order(i, BEGAN + timedelta(seconds=0.7 * i), dice)


def _order(i: int, at: datetime, dice: random.Random) -> list[Json]:
    tenant = dice.choice(TENANTS[:9])
    story = _Story(
        f"req-{i:05}", {"request_id": f"req-{i:05}", "tenant": tenant, "user": "ada"}, dice
    )

    def later(since: datetime, most: float) -> tuple[datetime, float]:
        wait = dice.uniform(0.0004, most)
        return since + timedelta(seconds=wait), wait

    queues = ["orders.billing", "orders.shipping", "orders.mail"]
    created = story.publish(None, at, "orders", "order.created", queues)
    billed, wait = later(at, 0.08)
    delivery = story.deliver(created, billed, wait, queues[0])
    if i % 7 == 3:
        story.run(
            delivery, billed + timedelta(milliseconds=1), "billing.on_order", 0.03, "CardExpired"
        )
        story.dead(delivery, billed + timedelta(milliseconds=32), queues[0])
    elif i % 5:
        began = billed + timedelta(milliseconds=1)
        run = story.run(delivery, began, "billing.on_order", 0.045)
        paid = story.publish(
            run, began + timedelta(milliseconds=40), "payments", "payment.done", ["mail"]
        )
        mailed, wait = later(began + timedelta(milliseconds=40), 0.2)
        story.run(
            story.deliver(paid, mailed, wait, "mail"),
            mailed,
            "mail.on_payment",
            dice.uniform(0.005, 0.1),
        )
    else:
        for n in range(3):
            story.inferred(
                delivery, billed + timedelta(milliseconds=9 + 7 * n), "audit", f"audit.{n}"
            )
    shipped, wait = later(at, 0.3)
    delivery = story.deliver(created, shipped, wait, queues[1])
    if i % 11 == 4:
        story.run(delivery, shipped - timedelta(milliseconds=6), "shipping.on_order", 0.02)
    elif i % 6 == 2:
        story.run(delivery, shipped, "shipping.on_order", 0.2, "TimeoutError")
        again, wait = later(shipped + timedelta(milliseconds=200), 0.1)
        story.run(
            story.deliver(created, again, wait, queues[1], 2), again, "shipping.on_order", 0.12
        )
    mailed, wait = later(at, 0.05)
    story.deliver(created, mailed, wait, queues[2])
    return story.events


def one_journey(spans: int) -> list[Json]:
    """Return one journey of so many events: each handler publishes three times."""
    story = _Story("req-large", {"request_id": "req-large", "tenant": "acme"}, random.Random(3))
    at = BEGAN
    runs: list[tuple[str | None, datetime]] = [(None, at)]
    while len(story.events) < spans:
        parent, at = runs.pop(0)
        for n in range(3):
            at += timedelta(milliseconds=3)
            sent = story.publish(parent, at, "work", f"step.{n}", ["work"])
            got = at + timedelta(milliseconds=8)
            run = story.run(story.deliver(sent, got, 0.008, "work"), got, "worker.on_step", 0.02)
            runs.append((run, got))
    return story.events[:spans]
