"""kombu: Consumer and its three kinds of callback, the mixins, get, pools."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from time import monotonic, sleep
from typing import Any, TypeAlias

import kombu
from kombu import pools
from kombu.mixins import ConsumerProducerMixin
from kombu.utils.limits import TokenBucket

from mqctx import current
from mqctx.adapters import kombu as adapter
from tests.conformance.model import (
    AMBIENT,
    PAUSE,
    SECONDS,
    Forward,
    Handle,
    Path,
    Settle,
    Source,
    Verdict,
    bare,
    nothing,
)
from tests.integration.clients import kombu_connection

Publish: TypeAlias = Callable[..., Any]
Decorate: TypeAlias = Callable[[Any], Any]
Restoring: TypeAlias = Callable[[Any], AbstractContextManager[object]]


def publish_raw(producer: Any, *args: Any, **options: Any) -> Any:
    """Publish as the client does, with the arguments of the adapter's `publish`."""
    return producer.publish(*args, **options)


class Work:
    """The messages that a path has to handle."""

    def __init__(self, handle: Handle, count: int, publish: Publish) -> None:
        self.left = count
        self._handle = handle
        self._publish = publish
        self._deadline = monotonic() + SECONDS

    def check_time(self) -> None:
        """Raise if the messages take too long to come."""
        assert monotonic() < self._deadline, f"{self.left} messages did not come"

    def drain(self, connection: Any) -> None:
        """Let the connection's consumers handle all messages."""
        while self.left:
            connection.drain_events(timeout=SECONDS)
            assert current() == AMBIENT

    def do(self, message: Any, producer: Any = None) -> Verdict:
        """Handle and settle a message."""
        verdict = self._handle(_body(message), message.headers)
        if isinstance(verdict, Forward):
            with verdict.scope():
                self._forward(producer or kombu.Producer(message.channel), message, verdict.queue)
            message.ack()
        elif verdict is Settle.ACK:
            message.ack()
        elif verdict is not Settle.LEAVE:
            message.reject(requeue=verdict is Settle.REQUEUE)
        self.left -= 1
        return verdict

    def _forward(self, producer: Any, message: Any, queue: str) -> None:
        self._publish(
            producer,
            message.body,
            routing_key=queue,
            headers=message.headers,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            reply_to=message.properties.get("reply_to"),
        )


def _body(message: Any) -> bytes:
    return message.body.encode() if isinstance(message.body, str) else bytes(message.body)


def _queue(source: Source) -> Any:
    return kombu.Queue(source.name, no_declare=True, consumer_arguments=source.arguments)


def callbacks(
    url: str, source: Source, count: int, handle: Handle, *, publish: Publish, decorate: Decorate
) -> None:
    """A Consumer's `callbacks`."""
    work = Work(handle, count, publish)

    @decorate
    def on_message(body: Any, message: Any) -> None:
        work.do(message)

    with (
        kombu_connection(url) as connection,
        connection.Consumer(_queue(source), callbacks=[on_message], prefetch_count=1),
    ):
        work.drain(connection)


def on_message(
    url: str, source: Source, count: int, handle: Handle, *, publish: Publish, decorate: Decorate
) -> None:
    """A Consumer's `on_message`."""
    work = Work(handle, count, publish)

    @decorate
    def on_message(message: Any) -> None:
        work.do(message)

    with (
        kombu_connection(url) as connection,
        connection.Consumer(_queue(source), on_message=on_message, prefetch_count=1),
    ):
        work.drain(connection)


def on_decode_error(
    url: str, source: Source, count: int, handle: Handle, *, publish: Publish, restoring: Restoring
) -> None:
    """A Consumer's `on_decode_error`."""
    work = Work(handle, count, publish)

    def on_error(message: Any, error: Exception) -> None:
        with restoring(message):
            work.do(message)

    def on_message(body: Any, message: Any) -> None:
        raise AssertionError(f"{body!r} was decoded")

    with (
        kombu_connection(url) as connection,
        connection.Consumer(
            _queue(source), callbacks=[on_message], on_decode_error=on_error, prefetch_count=1
        ),
    ):
        work.drain(connection)


def pooled(
    url: str, source: Source, count: int, handle: Handle, *, publish: Publish, decorate: Decorate
) -> None:
    """A Consumer on a connection out of a pool, which publishes with a producer out of one."""
    work = Work(handle, count, publish)
    # Without confirms, what is still on its way is lost when the pool is closed.
    address = kombu.Connection(url, transport_options={"confirm_publish": True})

    @decorate
    def on_message(body: Any, message: Any) -> None:
        with pools.producers[address].acquire(block=True, timeout=SECONDS) as producer:
            work.do(message, producer)

    try:
        with (
            pools.connections[address].acquire(block=True, timeout=SECONDS) as connection,
            connection.Consumer(_queue(source), callbacks=[on_message], prefetch_count=1),
        ):
            work.drain(connection)
    finally:
        pools.reset()


class _Worker(ConsumerProducerMixin):
    """What an application makes of a mixin. Used without replies, it is a plain ConsumerMixin."""

    def __init__(
        self, connection: Any, source: Source, work: Work, decorate: Decorate, publish: Publish
    ) -> None:
        self.connection = connection
        self.restart_limit = TokenBucket(1 / PAUSE)  # connect again at once
        self._source = source
        self._work = work
        self._callback = decorate(self.on_message)
        self._publish = publish

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: N803 - kombu's name
        queue = _queue(self._source)
        return [Consumer(queues=[queue], callbacks=[self._callback], prefetch_count=1)]

    def on_iteration(self) -> None:
        assert current() == AMBIENT
        self._work.check_time()

    def on_message(self, body: Any, message: Any) -> None:
        verdict = self._work.do(message)
        reply_to = message.properties.get("reply_to")
        if reply_to and verdict is not Settle.LEAVE:
            self._publish(self.producer, _body(message), routing_key=reply_to)
        self.should_stop = not self._work.left


def mixin(
    url: str, source: Source, count: int, handle: Handle, *, publish: Publish, decorate: Decorate
) -> None:
    """A ConsumerMixin, or a ConsumerProducerMixin if the messages ask for replies."""
    work = Work(handle, count, publish)
    with kombu_connection(url) as connection:
        _Worker(connection, source, work, decorate, publish).run()
    assert not work.left


def simple_queue(
    url: str, source: Source, count: int, handle: Handle, *, restoring: Restoring
) -> None:
    """`SimpleQueue.get`."""
    work = Work(handle, count, adapter.publish)
    with kombu_connection(url) as connection, connection.SimpleQueue(_queue(source)) as queue:
        queue.consumer.qos(prefetch_count=1)
        while work.left:
            message = queue.get(timeout=SECONDS)
            with restoring(message):
                work.do(message)
            assert current() == AMBIENT


def get(url: str, source: Source, count: int, handle: Handle, *, restoring: Restoring) -> None:
    """`Queue.get`."""
    work = Work(handle, count, adapter.publish)
    with kombu_connection(url) as connection:
        queue = _queue(source)(connection.default_channel)
        while work.left:
            message = queue.get()
            if message is None:
                work.check_time()
                sleep(PAUSE)
                continue
            with restoring(message):
                work.do(message)
            assert current() == AMBIENT


_SIMPLE = "`SimpleQueue.get`"
_GET = "`Queue.get`"
_NO_GET = {"stream": "RabbitMQ refuses `basic.get` on a stream"}
_UNDECODABLE: dict[str, Any] = {
    "body": b'{"order": %d',
    "properties": {"content_type": "application/json", "content_encoding": "utf-8"},
}


def _paths(name: str, function: Callable[..., None], **more: Any) -> list[Path]:
    decorated = partial(function, publish=adapter.publish, decorate=adapter.consume_with_context)
    instrumented = partial(function, publish=publish_raw, decorate=bare)
    return [
        Path("kombu", name, "consume_with_context", decorated, **more),
        Path("kombu", name, "instrument", instrumented, **more),
    ]


PATHS = [
    *_paths("Consumer, `callbacks`", callbacks),
    *_paths("Consumer, `on_message`", on_message),
    Path(
        "kombu",
        "Consumer, `on_decode_error`",
        "restored",
        partial(on_decode_error, publish=adapter.publish, restoring=adapter.restored),
        **_UNDECODABLE,
    ),
    Path(
        "kombu",
        "Consumer, `on_decode_error`",
        "instrument",
        partial(on_decode_error, publish=publish_raw, restoring=nothing),
        **_UNDECODABLE,
    ),
    *_paths("ConsumerMixin", mixin, reconnects=True),
    *_paths("ConsumerProducerMixin and its reply", mixin, reconnects=True, replies=True),
    *_paths("Consumer and Producer out of pools", pooled),
    Path("kombu", _SIMPLE, "restored", partial(simple_queue, restoring=adapter.restored)),
    Path("kombu", _GET, "restored", partial(get, restoring=adapter.restored), cannot=_NO_GET),
]

LEFT_ALONE = [
    Path("kombu", _SIMPLE, "instrument", partial(simple_queue, restoring=nothing)),
    Path("kombu", _GET, "instrument", partial(get, restoring=nothing)),
]
"""Where the client cannot tell when a message is done with."""
