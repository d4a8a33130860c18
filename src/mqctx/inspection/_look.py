"""Look at queues: read their messages, and leave all where they are."""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, Self

from pika import exceptions

from mqctx.inspection._broker import DEFAULT_URL, Broker
from mqctx.inspection._connection import connected
from mqctx.inspection._contexts import ContextReader
from mqctx.inspection._errors import BrokerError, refused
from mqctx.inspection._management import Management, ManagementError
from mqctx.inspection._message import Message
from mqctx.inspection._publisher import Publisher
from mqctx.inspection._queue_channel import QueueChannel
from mqctx.inspection._reader import Reader
from mqctx.inspection._rescue import Rescue
from mqctx.inspection._safety import QueueFacts, Refusal, refusal_of

__all__ = ["Inspector", "Look", "RefusedError"]

_CONSUMER_TIMEOUT: Final = 1_800_000
"""RabbitMQ's own, in milliseconds, after which it closes a channel that acknowledges nothing."""
_SHARE: Final = 0.8
_SECONDS_LATE: Final = 6.0
_NOT_FOUND: Final = 404


class RefusedError(Exception):
    """A look could lose messages of this queue. `refusal.command` makes it safe."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Look:
    """The messages of a queue, while they are held for you. Iterate over it, once.

    All are back in the queue when the `with` block ends. Do not keep it open for long: RabbitMQ
    closes the connection of a program that is silent for two minutes, and puts all back itself.
    """

    def __init__(self, facts: QueueFacts, reader: Reader, contexts: ContextReader) -> None:
        self.facts: Final = facts
        self.rescue: Rescue | None = None
        self._reader = reader
        self._contexts = contexts

    def __iter__(self) -> Iterator[Message]:
        for message in self.messages():
            if self.rescue is not None:
                self.rescue.take(message)
            yield message

    def messages(self) -> Iterator[Message]:
        """Yield the messages, and copy none of them to the queue's end: that is yours to do."""
        for delivery in self._reader.deliveries():
            yield Message(self.queue, self.looked, delivery, self._contexts)

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return self.facts.name

    @property
    def there(self) -> int:
        """The number of messages that waited in the queue when the look began."""
        return self._reader.there

    @property
    def looked(self) -> int:
        """The number of messages that were read."""
        return self._reader.taken

    @property
    def consumers(self) -> int:
        """The number of consumers that the queue had when the look began."""
        return self._reader.consumers

    @property
    def is_late(self) -> bool:
        """Whether it ended early, before RabbitMQ takes the consumer for stuck."""
        return self._reader.is_late

    @property
    def held_by_others(self) -> int:
        """The number of messages that consumers hold, by the management API's last figures."""
        return max(0, (self.facts.messages or 0) - self.there)

    @property
    def missed(self) -> int:
        """The number of messages that were there and did not come: they went, or go, to others."""
        return self.there - self.looked if self._reader.is_drained else 0

    def stop(self) -> None:
        """End the iteration. May be called from a signal handler."""
        self._reader.stop()

    def acknowledge(self, message: Message) -> None:
        """Take a message off the queue. It is lost, unless a copy of it is somewhere else."""
        self._reader.channel.acknowledge(message.tag)

    def settle(self) -> None:
        """Wait until RabbitMQ has what was acknowledged."""
        self._reader.channel.settle()

    def close(self) -> None:
        """Put all back.

        Raises:
            pika.exceptions.AMQPError: the connection is closed: RabbitMQ has put all back.
        """
        if self.rescue is not None:
            for delivery in self._reader.leftovers():
                self.rescue.take(delivery)
            self.rescue.finish()
        self._reader.release()


class Inspector:
    """A connection to a broker and its management API, in a `with` block.

    Args:
        broker: Its URL, `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or a `Broker`.
        management: The URL of its management API. None: the same host, and the port plus 10,000.
        keys: The secrets of signed contexts by name, as `SignedFormat` takes them.

    Raises:
        ValueError: the URL is malformed, or a key cannot be one.
        BrokerError: the broker cannot be reached, or refuses.
    """

    def __init__(
        self,
        broker: str | Broker = DEFAULT_URL,
        *,
        management: str | None = None,
        keys: Mapping[str, str | bytes] | None = None,
    ) -> None:
        self.broker: Final = Broker.parse(broker) if isinstance(broker, str) else broker
        self._management_url = management
        self._contexts = ContextReader(keys)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.connection: Any = stack.enter_context(connected(self.broker, "mqctx"))
            # The server's properties, which pika's blocking connection does not show.
            server: Any = self.connection._impl.server_properties
            self._server: Mapping[str, Any] = server
            self.management: Management = stack.enter_context(
                Management(self.broker, self._management_url)
            )
            # Past this line nothing can fail: until here, both are closed again.
            self._stack = stack.pop_all()
        self._problem = self._management_problem()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    @property
    def version(self) -> tuple[int, ...]:
        """The server's version."""
        # "4.0.0-rc.1" counts as 4.0.0, and "4.0.5+1.g2f" as 4.0.
        numbers = str(self._server.get("version", "")).partition("-")[0].split(".")
        return tuple(int(number) for number in numbers if number.isdigit())

    @property
    def is_lost(self) -> bool:
        """Whether the connection is closed."""
        return bool(self.connection.is_closed)

    @property
    def has_management(self) -> bool:
        """Whether the management API can be asked."""
        return self._problem is None

    def _management_problem(self) -> str | None:
        """Return why the management API cannot be asked, None if it can."""
        try:
            self.management.check(self._server)
        except ManagementError as error:
            return str(error)
        return None

    def queues(self, *names: str) -> list[str]:
        """Return the queues of these names, in which `*` stands for anything.

        Raises:
            ManagementError: the management API cannot be asked for the names.
        """
        found: dict[str, None] = {}
        for name in names:
            if "*" not in name:
                found[name] = None
                continue
            if self._problem is not None:
                raise ManagementError(self._problem)
            found.update(dict.fromkeys(self.management.queue_names(name)))
        return list(found)

    def facts(self, queue: str) -> QueueFacts:
        """Return what is known of a queue; its type is None if nobody could be asked.

        Raises:
            BrokerError: there is no such queue.
        """
        problem = self._problem
        if problem is None:
            try:
                return self.management.facts(queue, self.version)
            except ManagementError as error:
                if error.status == _NOT_FOUND:
                    raise BrokerError(
                        f"no queue {queue!r} in the vhost {self.broker.vhost!r}", _NOT_FOUND
                    ) from None
                problem = str(error)
        return QueueFacts(
            name=queue, vhost=self.broker.vhost, version=self.version, unknown_because=problem
        )

    def _safe_facts(self, queue: str) -> QueueFacts:
        """Return the facts of a queue that can be looked at; raise `RefusedError` if it cannot."""
        deadline = time.monotonic() + _SECONDS_LATE
        while True:
            facts = self.facts(queue)
            refusal = refusal_of(facts)
            if refusal is None:
                return facts
            # A policy that lifts it may have been set just now.
            if not facts.are_late or time.monotonic() > deadline:
                raise RefusedError(refusal)
            self.connection.process_data_events(0.5)

    @contextmanager
    def look(self, queue: str, *, rescue: bool = False, settling: bool = False) -> Generator[Look]:
        """Read the messages that are in a queue now, and put all back at the end.

        With `rescue` each message is copied to the queue's end and then taken off its place: for
        queues that would lose messages which come back. A caller that settles messages meanwhile
        sets `settling`: then few come at once.

        Raises:
            RefusedError: a look could lose messages, and `rescue` is not set.
            BrokerError: there is no such queue, or the broker refuses.
        """
        facts = self.facts(queue) if rescue else self._safe_facts(queue)
        with self._errors():
            look = self._begun(facts, rescue=rescue, settling=settling)
            try:
                yield look
            except BaseException:
                # Raise the error that ended the block, not one that follows from it.
                with suppress(exceptions.AMQPError, BrokerError):
                    look.close()
                raise
            look.close()

    def _begun(self, facts: QueueFacts, *, rescue: bool, settling: bool) -> Look:
        channel = QueueChannel(self.connection, facts.name)
        is_stream = facts.type == "stream"
        by_copies = rescue and not is_stream  # nothing ever leaves a stream
        reader = Reader(
            channel,
            seconds=_seconds(facts),
            stream=is_stream,
            settling=by_copies or settling,
        )
        if is_stream:  # which tells its length late
            reader.there = max(reader.there, facts.messages or 0)
        look = Look(facts, reader, self._contexts)
        if by_copies:
            publisher = Publisher(self.connection)
            look.rescue = Rescue(channel, publisher, facts.name, self.broker.user)
        return look

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Raise what pika raises as one line."""
        try:
            yield
        except exceptions.AMQPError as error:
            raise refused(self.broker, error) from error


def _seconds(facts: QueueFacts) -> float:
    """Return for how long messages of a queue may be held."""
    timeout = facts.setting("consumer-timeout") or _CONSUMER_TIMEOUT
    return float(timeout) / 1000 * _SHARE
