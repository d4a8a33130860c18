"""kombu: Consumer and its three kinds of callback, the mixins, get, pools."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from time import sleep
from typing import Any, TypeAlias

import kombu
from kombu import pools
from kombu.mixins import ConsumerProducerMixin
from kombu.utils.limits import TokenBucket

from mqctx import current
from mqctx.adapters import kombu as adapter
from tests.conformance.model import AMBIENT, Path, handler_paths, nothing
from tests.drivers.handling import PAUSE, SECONDS, Decorate, Handle, Send, Settle, Source
from tests.drivers.on_kombu import (
    KombuWork,
    body_of,
    callbacks,
    kombu_connection,
    queue_of,
    send_raw,
)

Restoring: TypeAlias = Callable[[Any], AbstractContextManager[object]]


def on_message(
    url: str, source: Source, count: int, handle: Handle, *, send: Send, decorate: Decorate
) -> None:
    """A Consumer's `on_message`."""
    work = KombuWork(handle, count, send)

    @decorate
    def on_message(message: Any) -> None:
        work.do(message)

    with (
        kombu_connection(url) as connection,
        connection.Consumer(queue_of(source), on_message=on_message, prefetch_count=1),
    ):
        work.drain(connection)


def on_decode_error(
    url: str, source: Source, count: int, handle: Handle, *, send: Send, restoring: Restoring
) -> None:
    """A Consumer's `on_decode_error`."""
    work = KombuWork(handle, count, send)

    def on_error(message: Any, error: Exception) -> None:
        with restoring(message):
            work.do(message)

    def on_message(body: Any, message: Any) -> None:
        raise AssertionError(f"{body!r} was decoded")

    with (
        kombu_connection(url) as connection,
        connection.Consumer(
            queue_of(source), callbacks=[on_message], on_decode_error=on_error, prefetch_count=1
        ),
    ):
        work.drain(connection)


def pooled(
    url: str, source: Source, count: int, handle: Handle, *, send: Send, decorate: Decorate
) -> None:
    """A Consumer on a connection out of a pool, which publishes with a producer out of one."""
    work = KombuWork(handle, count, send)
    # Without confirms, what is still on its way is lost when the pool is closed.
    address = kombu.Connection(url, transport_options={"confirm_publish": True})

    @decorate
    def on_message(body: Any, message: Any) -> None:
        with pools.producers[address].acquire(block=True, timeout=SECONDS) as producer:
            work.do(message, producer)

    try:
        with (
            pools.connections[address].acquire(block=True, timeout=SECONDS) as connection,
            connection.Consumer(queue_of(source), callbacks=[on_message], prefetch_count=1),
        ):
            work.drain(connection)
    finally:
        pools.reset()


class _Worker(ConsumerProducerMixin):
    """An application's worker on a mixin. Used without replies, it is a plain ConsumerMixin."""

    def __init__(
        self, connection: Any, source: Source, work: KombuWork, decorate: Decorate, send: Send
    ) -> None:
        self.connection = connection
        self.restart_limit = TokenBucket(1 / PAUSE)  # connect again at once
        self._source = source
        self._work = work
        self._callback = decorate(self.on_message)
        self._send = send

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: N803 - kombu's name
        queue = queue_of(self._source)
        return [Consumer(queues=[queue], callbacks=[self._callback], prefetch_count=1)]

    def on_iteration(self) -> None:
        assert current() == AMBIENT
        self._work.check_time()

    def on_message(self, body: Any, message: Any) -> None:
        verdict = self._work.do(message)
        reply_to = message.properties.get("reply_to")
        if reply_to and verdict is not Settle.LEAVE:
            self._send(self.producer, body_of(message), routing_key=reply_to)
        self.should_stop = not self._work.left


def mixin(
    url: str, source: Source, count: int, handle: Handle, *, send: Send, decorate: Decorate
) -> None:
    """A ConsumerMixin, or a ConsumerProducerMixin if the messages ask for replies."""
    work = KombuWork(handle, count, send)
    with kombu_connection(url) as connection:
        _Worker(connection, source, work, decorate, send).run()
    assert not work.left


def simple_queue(
    url: str, source: Source, count: int, handle: Handle, *, restoring: Restoring
) -> None:
    """`SimpleQueue.get`."""
    work = KombuWork(handle, count, adapter.publish)
    with kombu_connection(url) as connection, connection.SimpleQueue(queue_of(source)) as queue:
        queue.consumer.qos(prefetch_count=1)
        while work.left:
            message = queue.get(timeout=SECONDS)
            with restoring(message):
                work.do(message)
            assert current() == AMBIENT


def get(url: str, source: Source, count: int, handle: Handle, *, restoring: Restoring) -> None:
    """`Queue.get`."""
    work = KombuWork(handle, count, adapter.publish)
    with kombu_connection(url) as connection:
        queue = queue_of(source)(connection.default_channel)
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
_paths = partial(handler_paths, "kombu")


PATHS = [
    *_paths("Consumer, `callbacks`", callbacks),
    *_paths("Consumer, `on_message`", on_message),
    Path(
        "kombu",
        "Consumer, `on_decode_error`",
        "restored",
        partial(on_decode_error, send=adapter.publish, restoring=adapter.restored),
        **_UNDECODABLE,
    ),
    Path(
        "kombu",
        "Consumer, `on_decode_error`",
        "instrument",
        partial(on_decode_error, send=send_raw, restoring=nothing),
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
"""Paths on which the client cannot tell when a message is done with."""
