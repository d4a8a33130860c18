"""A channel on one queue, which holds what it is given, and gives all back in its order."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from pika import spec
from pika.adapters.blocking_connection import BlockingConnection

from mqctx.inspection._arrivals import Arrival
from mqctx.inspection._connection import Delivery, delivery_of
from mqctx.inspection._errors import BrokerError

__all__ = ["QueueChannel"]

_TICK: Final = 0.5
"""The seconds within which `Reader.stop` is noticed."""
_PAUSE: Final = 0.02
_SECONDS_STILL: Final = 1.0
"""The seconds after which what has not come back is taken to be with the queue's consumers."""
_SECONDS_STILL_ALONE: Final = 5.0
"""The same for a queue without any: only what others get one by one, or has expired, is missing."""


class QueueChannel:
    """A channel on one queue, for what a blocking one of pika does not do as it should here.

    pika rejects what arrives for a consumer while it is being cancelled, which RabbitMQ counts as
    a failed delivery.
    """

    def __init__(self, connection: BlockingConnection, queue: str) -> None:
        self._connection: Any = connection
        self._queue = queue
        self._blocking: Any = connection.channel()
        self._channel: Any = self._blocking._impl
        self._closed: list[Exception] = []
        self._is_transactional = False
        # A byte for each delivery tag, since there may be millions of them.
        self._settled = bytearray()
        self._last_tag = 0
        self._last_tags: list[int] = []  # of each consumer that has ended
        self._forget_consumers_of(self._blocking)
        self._channel.add_on_close_callback(self._on_close)
        self._channel.add_on_cancel_callback(self._on_cancel)

    def _forget_consumers_of(self, blocking: Any) -> None:
        """Keep the blocking channel from what it would do with consumers that it did not start."""
        number, forget = self._channel.channel_number, self._channel.callbacks.remove
        forget(number, spec.Basic.Cancel, blocking._on_consumer_cancelled_by_broker)
        forget(number, spec.Basic.ConsumeOk, blocking._basic_consume_ok_result.signal_once)

    def ready(self) -> tuple[int, int]:
        """Return the number of messages that wait in the queue, and of its consumers.

        Raises:
            pika.exceptions.AMQPError: there is no such queue, or it is another connection's.
        """
        declare = self._channel.queue_declare
        method = self._answer(lambda done: declare(self._queue, passive=True, callback=done)).method
        return method.message_count, method.consumer_count

    def consume(
        self, prefetch: int, arguments: Mapping[str, Any], on_delivery: Callable[[Delivery], None]
    ) -> str:
        """Start a consumer that acknowledges nothing by itself, and return its tag."""

        def take(arrival: Arrival) -> None:
            delivery = delivery_of(arrival)
            self._last_tag = delivery.tag
            on_delivery(delivery)

        qos, consume = self._channel.basic_qos, self._channel.basic_consume
        self._answer(lambda done: qos(prefetch_count=prefetch, callback=done))
        self._connection._impl.stream(self._channel.channel_number, take)
        answer = self._answer(
            lambda done: consume(self._queue, _nothing, arguments=dict(arguments), callback=done)
        )
        return str(answer.method.consumer_tag)

    def cancel(self, consumer: str) -> None:
        """End a consumer. Messages under way to it arrive before this returns."""
        cancel: Any = spec.Basic.Cancel
        # Not `basic_cancel`: see the class.
        method, replies = cancel(consumer_tag=consumer), [spec.Basic.CancelOk]
        self._answer(lambda done: self._channel._rpc(method, done, replies))
        self._last_tags.append(self._last_tag)

    def acknowledge(self, tag: int) -> None:
        """Take a message off the queue, at the latest when `settle` returns.

        In a transaction: a quorum queue gets 32 commands at most before it says that they were
        carried out, and those that then wait are lost with the channel. One commit is one command.
        """
        if not self._is_transactional:
            self._answer(lambda done: self._channel.tx_select(callback=done))
            self._is_transactional = True
        self._check()
        self._channel.basic_ack(tag)
        self._settled.extend(bytes(max(0, tag + 1 - len(self._settled))))
        self._settled[tag] = 1

    def settle(self) -> None:
        """Pass on what was acknowledged, or given back."""
        if self._is_transactional:
            self._answer(lambda done: self._channel.tx_commit(callback=done))

    def give_back(self) -> None:
        """Put all back that is held, and return once it waits in the queue again.

        Consumer by consumer, for RabbitMQ 4.0 does it in an order of its own if it gets those of
        several at once.
        """
        held = self._last_tag - self._settled.count(1)
        others = self.ready()[0]
        before = 0
        for last in self._last_tags:
            if tag := self._last_held(before, last):
                self._channel.basic_nack(tag, multiple=True, requeue=True)
                self.settle()
            before = last
        # 0 stands for all that is left.
        self._channel.basic_nack(0, multiple=True, requeue=True)
        self.settle()
        self._wait_for(others + held)

    def _wait_for(self, count: int) -> None:
        """Wait until so many messages wait in the queue, or no more come back: others take them.

        A busy quorum queue gives back some time after it has answered, and a queue of a million
        rests meanwhile: the next look would miss what is still on its way.
        """
        most, since = -1, time.monotonic()
        while True:
            ready, consumers = self.ready()
            if ready > most:
                most, since = ready, time.monotonic()
            still = _SECONDS_STILL if consumers else _SECONDS_STILL_ALONE
            if ready >= count or time.monotonic() - since >= still:
                return
            self.wait(_PAUSE)

    def _last_held(self, before: int, last: int) -> int:
        """Return the highest tag up to `last` that is not settled, 0 if none is above `before`."""
        settled = self._settled
        held = (tag for tag in range(last, before, -1) if tag >= len(settled) or not settled[tag])
        return next(held, 0)

    def close(self) -> None:
        """Close the channel."""
        if self._channel.is_open:
            self._blocking.close()

    def wait(self, seconds: float = _TICK) -> None:
        """Let the connection work until `wake` is called, or for so long.

        Raises:
            pika.exceptions.AMQPError: channel or connection is closed.
        """
        self._check()
        self._connection.process_data_events(seconds)

    def wake(self) -> None:
        """End the wait that is under way."""
        self._connection.call_later(0, _nothing)

    def _answer(self, ask: Callable[[Callable[[Any], None]], object]) -> Any:
        """Return the broker's answer to what `ask` asks."""
        answers: list[Any] = []

        def on_answer(frame: Any) -> None:
            answers.append(frame)
            self.wake()

        self._check()
        ask(on_answer)
        while not answers:
            self.wait()
        return answers[0]

    def _check(self) -> None:
        """Raise why the channel is closed. pika itself says no more than that it is."""
        if self._closed:
            raise self._closed[0]

    def _on_cancel(self, _: object) -> None:
        self._closed.append(
            BrokerError(
                f"RabbitMQ ended the look at {self._queue}: it was deleted or moved, or the look "
                "took longer than the broker's consumer_timeout"
            )
        )
        self.wake()

    def _on_close(self, _: object, reason: Exception) -> None:
        self._connection._impl.end_stream(self._channel.channel_number)
        self._closed.append(reason)
        self.wake()


def _nothing(*_: object) -> None:
    """Do nothing, but in a turn of pika's loop."""
