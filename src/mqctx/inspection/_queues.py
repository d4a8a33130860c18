"""Facts that a redrive needs about the queues that messages go to, each asked for once."""

from collections.abc import Callable
from functools import cache, cached_property
from math import inf
from typing import Any, Final, TypeVar

from pika import exceptions

from mqctx.inspection._look import Inspector
from mqctx.inspection._routes import NoRoutes, Routes

__all__ = ["Queues"]

_NOT_FOUND: Final = 404


K = TypeVar("K")
V = TypeVar("V")


class _Asked(dict[K, V]):
    """Answers to a question, which is asked for each key that is not there."""

    def __init__(self, ask: Callable[[K], V]) -> None:
        self._ask = ask

    def __missing__(self, key: K) -> V:
        value = self[key] = self._ask(key)
        return value


class Queues:
    """The queues of a broker."""

    def __init__(self, inspector: Inspector) -> None:
        self._connection = inspector.connection
        self._management = inspector.management
        self._vhost = inspector.broker.vhost
        self.facts = cache(inspector.facts)
        self.is_there = cache(self._is_there)
        """Tells whether there is a queue of a name, by AMQP."""
        self.has_exchange = cache(self._has_exchange)
        """Tells whether there is an exchange of a name, by AMQP."""
        self.routes: Routes | NoRoutes = NoRoutes(self.is_there)
        if inspector.has_management:
            self.routes = Routes(inspector.management, self._vhost, self._is_listed)
        self._room = _Asked(self._room_in)
        self._bytes = _Asked(self._bytes_in)

    def _is_listed(self, queue: str) -> bool:
        """Tell whether there is a queue of a name, of which there may be as many as messages."""
        return queue in self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self._management.queue_names("*"))

    def _is_there(self, queue: str) -> bool:
        return self._ready_in(queue) is not None

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
        if most is None:
            return inf
        told = self._management.get("queues", self._vhost, queue)
        return most - int(told.get("message_bytes_ready") or 0)

    def _dropping_over(self, setting: str, queue: str) -> int | None:
        """Return over how much a queue drops its oldest messages, None if it does not."""
        facts = self.facts(queue)
        most = facts.setting(setting)
        refuses = str(facts.setting("overflow")).startswith("reject")  # `reject-publish`, `-dlx`
        return None if most is None or refuses else int(most)
