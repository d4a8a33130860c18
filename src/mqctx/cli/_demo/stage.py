"""The place of the story: a broker with its queues."""

import secrets

import msgspec

from mqctx.cli._demo.journal import Journal, Service
from mqctx.cli._demo.story import SENT_IN, WORKERS


class Stage(msgspec.Struct, frozen=True):
    """A broker, the names of what is on it, and the journal."""

    url: str
    orders: str
    shipping: str
    payments: str
    dead: str
    reports: str
    prefix: str
    journal: Journal

    @classmethod
    def at(cls, url: str) -> "Stage":
        """Make a stage on the broker at `url`, with queue names that nobody else has."""
        prefix = f"mqctx-demo-{secrets.token_hex(4)}."
        journal = Journal(expected_runs=len(WORKERS) * len(SENT_IN))
        return cls(
            url=url,
            orders=f"{prefix}orders",
            shipping=f"{prefix}shipping",
            payments=f"{prefix}payments",
            dead=f"{prefix}payments.dead",
            reports=f"{prefix}reports",
            prefix=prefix,
            journal=journal,
        )

    def service(self, name: str, client: str) -> Service:
        """Make a service that writes to the journal."""
        return Service(name, client, self.journal)
