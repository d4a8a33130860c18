"""Take messages from a queue one after another, hold them, and give all back in the end.

A consumer gets as many messages as its prefetch allows, and then nothing more, since nothing is
acknowledged. So the next one takes its place, on the same channel: the broker counts a prefetch
for each consumer. `basic.get` would take 30 times as long, and streams refuse it.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final

from pika import spec
from pika.adapters.blocking_connection import BlockingConnection

from mqctx.inspection._connection import Delivery, delivery_of
from mqctx.inspection._errors import BrokerError

__all__ = ["LIMIT_OF_PREFETCH", "QueueChannel", "Reader"]

LIMIT_OF_PREFETCH: Final = 50_000
_FIRST_PREFETCH: Final = 250
_GROWTH: Final = 4
_TICK: Final = 0.5
"""The seconds within which `stop` is noticed."""
_PAUSE: Final = 0.02
_SECONDS_STILL: Final = 1.0
"""The seconds after which what has not come back is taken to be with others."""
_PATIENCE: Final = 3.0
"""The seconds after which a queue that has messages and gives none is left."""


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

        def on_message(_: object, method: Any, properties: object, body: bytes) -> None:
            self._last_tag = method.delivery_tag
            on_delivery(delivery_of(method, properties, body))

        qos, consume = self._channel.basic_qos, self._channel.basic_consume
        self._answer(lambda done: qos(prefetch_count=prefetch, callback=done))
        answer = self._answer(
            lambda done: consume(self._queue, on_message, arguments=dict(arguments), callback=done)
        )
        return str(answer.method.consumer_tag)

    def cancel(self, consumer: str) -> None:
        """End a consumer. What is under way to it arrives before this returns."""
        cancel: Any = spec.Basic.Cancel
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
        self._channel.basic_ack(tag)
        self._settled.extend(bytes(max(0, tag + 1 - len(self._settled))))
        self._settled[tag] = 1

    def settle(self) -> None:
        """Pass on what was acknowledged, or given back."""
        if self._is_transactional:
            self._answer(lambda done: self._channel.tx_commit(callback=done))

    def give_back(self, there: int) -> None:
        """Put all back that is held; `there` messages waited before. Return once they wait again.

        Consumer by consumer, for RabbitMQ 4.0 does it in an order of its own if it gets those of
        several at once.
        """
        before = 0
        for last in self._last_tags:
            if tag := self._last_held(before, last):
                self._channel.basic_nack(tag, multiple=True, requeue=True)
                self.settle()
            before = last
        self._channel.basic_nack(0, multiple=True, requeue=True)
        self.settle()
        self._wait_for(there - self._settled.count(1))

    def _wait_for(self, count: int) -> None:
        """Wait until so many messages wait in the queue, or no more come back: others take them.

        A busy quorum queue gives back some time after it has answered: the next look would miss
        what is still on its way.
        """
        most, since = -1, time.monotonic()
        while (ready := self.ready()[0]) < count and time.monotonic() - since < _SECONDS_STILL:
            if ready > most:
                most, since = ready, time.monotonic()
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
        if self._closed:
            raise self._closed[0]
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

        ask(on_answer)
        while not answers:
            self.wait()
        return answers[0]

    def _on_cancel(self, _: object) -> None:
        self._closed.append(BrokerError(f"{self._queue} was deleted, or moved, while it was read"))
        self.wake()

    def _on_close(self, _: object, reason: Exception) -> None:
        self._closed.append(reason)
        self.wake()


def _nothing() -> None:
    """Do nothing, but in a turn of pika's loop."""


class Reader:
    """The messages that are in a queue now, each once, in their order.

    Args:
        channel: On the queue.
        stream: Whether the queue is a stream, which is read from its first message.
        batch: Take so many at a time, and none while you have some of them to settle: a consumer
            gets new ones for those that were acknowledged.
        seconds: For so long messages may be held.
    """

    def __init__(
        self,
        channel: QueueChannel,
        *,
        seconds: float,
        stream: bool = False,
        batch: int | None = None,
    ) -> None:
        self.channel = channel
        self._is_stream = stream
        self._batch = batch
        self._deadline = time.monotonic() + seconds
        self._arrived: deque[Delivery] = deque()
        self._wanted = 1
        self._consumer: str | None = None
        self._offset: int | None = None
        self._stopped = False
        self.there: int
        self.consumers: int
        self.there, self.consumers = channel.ready()
        """The messages that waited, and the consumers that were there, when the look began."""
        self.taken: int = 0
        """The messages that were given out so far."""
        self.is_drained: bool = False
        """Whether messages were left because nothing more came: others got them."""
        self.is_late: bool = False
        """Whether messages were left because time was up."""

    def stop(self) -> None:
        """Give out no more messages. May be called from a signal handler."""
        self._stopped = True

    def deliveries(self) -> Iterator[Delivery]:
        """Yield the messages that were in the queue at the beginning, none of them settled.

        Raises:
            pika.exceptions.AMQPError: channel or connection is closed.
            BrokerError: the queue is gone.
        """
        prefetch = self._batch or _FIRST_PREFETCH
        while self.taken < self.there and not self._is_over():
            room = min(prefetch, self.there - self.taken)
            given = yield from self._deliveries_of_one_consumer(room)
            if given < room:
                self.is_drained = not self._is_over()
                return
            if self._batch is None:
                prefetch = min(prefetch * _GROWTH, LIMIT_OF_PREFETCH)

    def _deliveries_of_one_consumer(self, prefetch: int) -> Generator[Delivery, None, int]:
        """Yield what a consumer gets until it may not get more, and return their number."""
        self._consumer = self.channel.consume(prefetch, self._arguments(), self._arrives)
        if self._batch is not None:
            self._have_come(prefetch)
            self._cancel()
        given = 0
        while given < prefetch and self._have_come(1):
            given += 1
            yield self._take()
        self._cancel()
        return given

    def leftovers(self) -> Iterator[Delivery]:
        """Yield what has arrived and was not given out, and let nothing more come."""
        self._cancel()
        while self._arrived:
            yield self._take()

    def _take(self) -> Delivery:
        self.taken += 1
        delivery = self._arrived.popleft()
        if self._is_stream:
            offset = delivery.header.headers.get("x-stream-offset")
            self._offset = offset if isinstance(offset, int) else self._offset
        return delivery

    def _arguments(self) -> dict[str, Any]:
        if not self._is_stream:
            return {}
        return {"x-stream-offset": "first" if self._offset is None else self._offset + 1}

    def _have_come(self, count: int) -> bool:
        """Wait for so many messages, or fewer if no more come; tell whether to give one out."""
        since = time.monotonic()
        self._wanted = count
        while len(self._arrived) < count and self._consumer and not self._is_over():
            before = len(self._arrived)
            self.channel.wait()
            if len(self._arrived) > before:
                since = time.monotonic()
            elif self._is_empty(since):
                break
        return bool(self._arrived) and not self._is_over()

    def _is_empty(self, since: float) -> bool:
        """Tell whether nothing comes any more: others took the rest, or get it before us."""
        before = len(self._arrived)
        ready, _ = self.channel.ready()
        is_silent = len(self._arrived) == before
        return is_silent and (not ready or time.monotonic() - since > _PATIENCE)

    def _is_over(self) -> bool:
        self.is_late = self.is_late or time.monotonic() > self._deadline
        return self._stopped or self.is_late

    def _arrives(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)
        if len(self._arrived) == self._wanted:
            self.channel.wake()

    def _cancel(self) -> None:
        if self._consumer is not None:
            self.channel.cancel(self._consumer)
            self._consumer = None

    def release(self) -> None:
        """Put back all that is held, in its order, and close the channel.

        Raises:
            pika.exceptions.AMQPError: channel or connection is closed: the broker has put back all.
        """
        self._cancel()
        if not self._is_stream:
            self.channel.give_back(self.there)
        self.channel.close()
