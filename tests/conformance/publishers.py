"""The publishers: each client with the adapter's `publish`, and with its own while instrumented."""

from dataclasses import dataclass
from typing import Any, Literal

from tests.drivers.clients import CLIENTS, Name
from tests.drivers.handling import Order, Send


@dataclass(frozen=True, slots=True, eq=False)
class Publisher:
    """A client that publishes, and how the context gets into its messages."""

    client: Name
    way: Literal["publish", "instrument"]

    @property
    def id(self) -> str:
        """A name that no other publisher has."""
        return f"{self.client} {self.way}"

    @property
    def send(self) -> Send:
        """The function that publishes a message."""
        client = CLIENTS[self.client]
        send: Send = client.adapter.publish if self.way == "publish" else client.send_raw
        return send

    def publish(self, url: str, queue: str, *orders: Order, **properties: Any) -> None:
        """Publish each order in its context, all on one connection."""
        client = CLIENTS[self.client]
        with client.instrumented(self.way):
            client.publish(url, queue, *orders, send=self.send, **properties)


PUBLISHERS = [
    Publisher("aio-pika", "publish"),
    Publisher("aio-pika", "instrument"),
    Publisher("kombu", "publish"),
    Publisher("kombu", "instrument"),
    Publisher("pika", "publish"),
    Publisher("pika", "instrument"),
]
