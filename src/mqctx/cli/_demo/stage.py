"""The place of the story: a broker with two queues."""

import secrets

import msgspec

from mqctx.cli._demo.journal import Journal, Service
from mqctx.cli._demo.story import SENT_IN, WORKERS


class Stage(msgspec.Struct, frozen=True):
    """A broker, the names of two queues on it, and the journal."""

    url: str
    orders: str
    shipping: str
    journal: Journal

    @classmethod
    def at(cls, url: str) -> "Stage":
        """Make a stage on the broker at `url`, with queue names that nobody else has."""
        prefix = f"mqctx-demo-{secrets.token_hex(4)}"
        journal = Journal(expected_runs=len(WORKERS) * len(SENT_IN))
        return cls(url, f"{prefix}.orders", f"{prefix}.shipping", journal)

    def service(self, name: str, client: str) -> Service:
        """Make a service that writes to the journal."""
        return Service(name, client, self.journal)
