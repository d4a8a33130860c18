"""What a redrive must know of the queues that messages go to, each asked for once."""

from functools import cache
from math import inf
from typing import Any, Final

from pika import exceptions

from mqctx.inspection._look import Inspector
from mqctx.inspection._routes import Routes

__all__ = ["Queues"]

_NOT_FOUND: Final = 404


class Queues:
    """The queues of a broker. `routes` is None where the management API cannot be asked."""

    def __init__(self, inspector: Inspector) -> None:
        self._connection = inspector.connection
        self._management = inspector.management if inspector.has_management else None
        self.facts = cache(inspector.facts)
        self.routes: Routes | None = None
        self._vhost = inspector.broker.vhost
        if self._management is not None:
            self.routes = Routes(self._management, self._vhost, self.has)
        self._names: set[str] | None = None
        self._declared: dict[str, bool] = {}
        self.has_exchange = cache(self._has_exchange)
        """Tells whether there is an exchange of a name, by AMQP."""
        self._room: dict[str, float] = {}
        self._bytes: dict[str, float] = {}

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

    def _has_exchange(self, exchange: str) -> bool:
        return not exchange or self._declare("exchange_declare", exchange) is not None

    def _ready_in(self, queue: str) -> int | None:
        """Return how many messages wait in a queue, None if there is none."""
        try:
            declared = self._declare("queue_declare", queue)
        except exceptions.ChannelClosedByBroker:
            return 0  # it is another connection's own (405)
        return None if declared is None else int(declared.method.message_count)

    def _declare(self, method: str, name: str) -> Any:
        """Return the broker's answer to a passive declaration, None if there is no such thing."""
        # One for each question: a refusal closes it.
        channel = self._connection.channel()
        try:
            answer = getattr(channel, method)(name, passive=True)
        except exceptions.ChannelClosedByBroker as error:
            if error.reply_code == _NOT_FOUND:
                return None
            raise
        channel.close()
        return answer

    def take_room(self, queue: str, size: int) -> bool:
        """Tell whether a queue has room for one message more, and count it as taken.

        A queue that is full and refuses says so itself. Any other drops a message for each that it
        gets (`overflow` is `drop-head`).
        """
        if queue not in self._room:
            self._room[queue] = self._room_in(queue)
        if queue not in self._bytes:
            self._bytes[queue] = self._bytes_in(queue)
        if self._room[queue] < 1 or self._bytes[queue] < size:
            return False
        self._room[queue] -= 1
        self._bytes[queue] -= size
        return True

    def forget_room(self) -> None:
        """Ask again for how many messages there is room, since some came and went.

        Not for how many bytes: RabbitMQ tells that some seconds late.
        """
        self._room.clear()

    def _room_in(self, queue: str) -> float:
        most = self._dropping_over("max-length", queue)
        return inf if most is None else most - (self._ready_in(queue) or 0)

    def _bytes_in(self, queue: str) -> float:
        most = self._dropping_over("max-length-bytes", queue)
        if most is None or self._management is None:
            return inf
        told = self._management.get("queues", self._vhost, queue)
        return most - int(told.get("message_bytes_ready") or 0)

    def _dropping_over(self, setting: str, queue: str) -> int | None:
        """Return over how much a queue drops its oldest messages, None if it does not."""
        facts = self.facts(queue)
        most = facts.setting(setting)
        refuses = str(facts.setting("overflow")).startswith("reject")  # `reject-publish`, `-dlx`
        return None if most is None or refuses else int(most)
