"""The clients that go through faults, each written as its users write it."""

from typing import Protocol

from .flow import Flow
from .on_aio_pika import AioPika
from .on_kombu import Kombu
from .on_pika import Pika


class Client(Protocol):
    """One client with our adapter for it, which goes on after each fault."""

    def publish(self, flow: Flow) -> None:
        """Publish what the flow gives, each message until it is confirmed."""
        ...

    def consume(self, flow: Flow) -> None:
        """Handle what comes, in a decorated handler, until the flow is finished."""
        ...


CLIENTS: dict[str, Client] = {"aio-pika": AioPika(), "kombu": Kombu(), "pika": Pika()}
