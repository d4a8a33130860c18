"""What a redrive must know of the queues that messages go to, each asked for once."""

from functools import cache
from math import inf
from typing import Final

from pika import exceptions

from mqctx.inspection._look import Inspector
from mqctx.inspection._routes import Routes
from mqctx.inspection._safety import QueueFacts

__all__ = ["Queues"]

_NOT_FOUND: Final = 404
_LOCKED: Final = 405


class Queues:
    """The queues of a broker. `routes` is None where the management API cannot be asked."""

    def __init__(self, inspector: Inspector) -> None:
        self._connection = inspector.connection
        self._management = inspector.management if inspector.has_management else None
        self.facts = cache(inspector.facts)
        self.routes: Routes | None = None
        if self._management is not None:
            self.routes = Routes(self._management, inspector.broker.vhost, self.has)
        self._names: set[str] | None = None
        self._declared: dict[str, bool] = {}
        self._room: dict[str, float] = {}

    def has(self, queue: str) -> bool:
        """Tell whether there is a queue of a name, of which there may be as many as messages."""
        if self._management is None:
            return self.is_there(queue)
        if self._names is None:
            self._names = set(self._management.queue_names("*"))
        return queue in self._names

    def is_there(self, queue: str) -> bool:
        """Tell whether there is a queue, by AMQP."""
        if queue not in self._declared:
            self._declared[queue] = self._ready_in(queue) is not None
        return self._declared[queue]

    def _ready_in(self, queue: str) -> int | None:
        """Return how many messages wait in a queue, None if there is none."""
        channel = self._connection.channel()
        try:
            return int(channel.queue_declare(queue, passive=True).method.message_count)
        except exceptions.ChannelClosedByBroker as error:
            if error.reply_code not in (_NOT_FOUND, _LOCKED):
                raise
            return None if error.reply_code == _NOT_FOUND else 0
        finally:
            if channel.is_open:
                channel.close()

    def has_exchange(self, exchange: str) -> bool:
        """Tell whether there is an exchange."""
        channel = self._connection.channel()
        try:
            if exchange:
                channel.exchange_declare(exchange, passive=True)
        except exceptions.ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            return False
        else:
            channel.close()
        return True

    def take_room(self, queue: str) -> bool:
        """Tell whether a queue has room for one message more, and count it as taken.

        A queue that is full and refuses says so itself. Any other drops a message for each that it
        gets (`overflow` is `drop-head`).
        """
        if queue not in self._room:
            self._room[queue] = self._room_in(self.facts(queue), queue)
        self._room[queue] -= 1
        return self._room[queue] >= 0

    def forget_room(self) -> None:
        """Ask again how much room there is: messages came and went."""
        self._room.clear()

    def _room_in(self, facts: QueueFacts, queue: str) -> float:
        most = facts.setting("max-length")
        if most is None or str(facts.setting("overflow")).startswith("reject"):
            return inf
        return int(most) - (self._ready_in(queue) or 0)
