"""All that a publisher may do with a message, other than publish it once."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aio_pika
import kombu
import pika
from aio_pika.patterns import JsonMaster, JsonRPC
from kombu import pools

from mqctx import Context, Propagator, current
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from tests.conformance.model import AMBIENT, EMPTY, SENT
from tests.conformance.publishers import Publisher
from tests.drivers.clients import Name
from tests.drivers.handling import PAUSE, SECONDS, Send
from tests.drivers.on_aio_pika import aio_pika_channel
from tests.drivers.on_kombu import kombu_connection
from tests.drivers.on_pika import pika_channel

OTHER = Context(user="grace")
BODY = b'{"order": 1}'
NOWHERE = "no-such-queue"

Run: TypeAlias = Callable[[Send, str, str], None]
"""Called with what publishes, the broker's URL and the queue's name."""


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """Something to do with a message, for each client that can do it."""

    name: str
    means: str
    runs: Mapping[Name, Run]
    arrives: Sequence[Context] = ()
    """The contexts of the messages that are in the queue after it."""
    unlike: str = ""
    """Why the other clients do not have it."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Ways of publishing that do not have it, with the reason."""

    def why_not(self, publisher: Publisher) -> str | None:
        """Return why this publisher does not have it, None if it does."""
        if publisher.client not in self.runs:
            return self.unlike
        return self.own.get(publisher.way)


Main: TypeAlias = Callable[[Send, str, str], Coroutine[Any, Any, None]]


def _awaited(main: Main) -> Run:
    return lambda send, url, queue: asyncio.run(main(send, url, queue))


# The same message object, in one context after another.


async def _repeat_aio_pika(send: Send, url: str, queue: str) -> None:
    headers = {"kind": "order"}
    message = aio_pika.Message(BODY, headers=dict(headers))
    async with aio_pika_channel(url) as channel:
        for context in (SENT, EMPTY, OTHER):
            with context.scope():
                await send(channel.default_exchange, message, queue)
    assert message.headers == headers


def _repeat_kombu(send: Send, url: str, queue: str) -> None:
    headers = {"kind": "order"}
    with kombu_connection(url) as connection:
        producer = connection.Producer()
        for context in (SENT, EMPTY, OTHER):
            with context.scope():
                send(producer, BODY, routing_key=queue, headers=headers)
    assert headers == {"kind": "order"}


def _repeat_pika(send: Send, url: str, queue: str) -> None:
    headers = {"kind": "order"}
    properties = pika.BasicProperties(headers=headers)
    with pika_channel(url) as channel:
        channel.confirm_delivery()
        for context in (SENT, EMPTY, OTHER):
            with context.scope():
                send(channel, "", queue, BODY, properties)
    assert properties.headers is headers
    assert headers == {"kind": "order"}


# Mandatory, and not to be routed anywhere: the broker gives it back.


async def _return_aio_pika(send: Send, url: str, queue: str) -> None:
    returned: list[Context] = []

    def on_return(_: Any, message: Any) -> None:
        with aio_pika_adapter.restored(message):
            returned.append(current())

    async with aio_pika_channel(url) as channel:
        channel.return_callbacks.add(on_return)
        for context in (SENT, EMPTY):
            with context.scope():
                delivered = await send(channel.default_exchange, aio_pika.Message(BODY), NOWHERE)
            assert Propagator().extract(delivered.header.properties.headers) == context
    assert returned == [SENT, EMPTY]


def _return_kombu(send: Send, url: str, queue: str) -> None:
    returned: list[Context] = []

    def on_return(exception: Any, exchange: str, routing_key: str, message: Any) -> None:
        with kombu_adapter.restored(message):
            returned.append(current())

    with kombu.Connection(url) as connection:
        producer = connection.Producer(on_return=on_return)
        for context in (SENT, EMPTY):
            with context.scope():
                send(producer, BODY, routing_key=NOWHERE, mandatory=True)
        while len(returned) < 2:
            connection.drain_events(timeout=SECONDS)
            assert current() == AMBIENT
    assert returned == [SENT, EMPTY]


def _return_pika(send: Send, url: str, queue: str) -> None:
    returned: list[Context] = []

    @pika_adapter.consume_with_context
    def on_return(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        returned.append(current())

    with pika_channel(url) as channel:
        channel.add_on_return_callback(on_return)
        for context in (SENT, EMPTY):
            with context.scope():
                send(channel, "", NOWHERE, BODY, None, True)
        while len(returned) < 2:
            channel.connection.process_data_events(SECONDS)
            assert current() == AMBIENT
    assert returned == [SENT, EMPTY]


# Found in only one of the clients.


def _compress(send: Send, url: str, queue: str) -> None:
    headers = {"kind": "order"}  # to which kombu adds "compression", if left to itself
    with kombu_connection(url) as connection:
        producer = connection.Producer()
        for context in (SENT, EMPTY):
            with context.scope():
                send(producer, BODY, routing_key=queue, headers=headers, compression="zlib")
    assert headers == {"kind": "order"}


def _by_position(send: Send, url: str, queue: str) -> None:
    headers = {"kind": "order"}
    before = (queue, None, False, False, 0, None, None, None)
    with kombu_connection(url) as connection:
        producer = connection.Producer()
        for context in (SENT, EMPTY):
            with context.scope():
                send(producer, BODY, *before, headers)
    assert headers == {"kind": "order"}


def _out_of_a_pool(send: Send, url: str, queue: str) -> None:
    # Without confirms, what is still on its way is lost when the pool is closed.
    address = kombu.Connection(url, transport_options={"confirm_publish": True})
    try:
        for context in (SENT, EMPTY):
            with (
                context.scope(),
                pools.producers[address].acquire(block=True, timeout=SECONDS) as producer,
            ):
                send(producer, BODY, routing_key=queue)
    finally:
        pools.reset()


def _put(_: Send, url: str, queue: str) -> None:
    target = kombu.Queue(queue, routing_key=queue, no_declare=True)
    with kombu_connection(url) as connection, connection.SimpleQueue(target) as simple:
        for context in (SENT, EMPTY):
            with context.scope():
                simple.put(BODY)


async def _create_task(_: Send, url: str, queue: str) -> None:
    async with aio_pika_channel(url) as channel:
        master = JsonMaster(channel)
        for context in (SENT, EMPTY):
            with context.scope():
                await master.create_task(queue, {"order": 1})


async def _call(_: Send, url: str, queue: str) -> None:
    """Call a function without waiting for its result: the calls are what is looked at."""
    async with aio_pika_channel(url) as channel:
        rpc = await JsonRPC.create(channel)
        for number, context in enumerate((SENT, EMPTY), 1):
            with context.scope():
                call = asyncio.create_task(rpc.call(queue, {"order": 1}))
            await _filled(channel, queue, number)
            call.cancel()


async def _filled(channel: Any, queue: str, count: int) -> None:
    """Return when the queue holds so many messages."""
    while True:
        declared = await channel.declare_queue(queue, passive=True)
        if declared.declaration_result.message_count == count:
            return
        await asyncio.sleep(PAUSE)


_INSIDE = {"publish": "it publishes inside the client: there is no call to replace"}

PUBLICATIONS = [
    Publication(
        "repeated",
        "the same message object in a context, in none, and in another one: each message has its "
        "own, and the object and its headers stay as they are",
        {
            "aio-pika": _awaited(_repeat_aio_pika),
            "kombu": _repeat_kombu,
            "pika": _repeat_pika,
        },
        (SENT, EMPTY, OTHER),
    ),
    Publication(
        "returned",
        "mandatory and unroutable: the returned message (`return_callbacks` and the result in "
        "aio-pika, `on_return` in kombu, the return callback in pika) carries the context",
        {
            "aio-pika": _awaited(_return_aio_pika),
            "kombu": _return_kombu,
            "pika": _return_pika,
        },
    ),
    Publication(
        "compressed",
        "with `compression=`",
        {"kombu": _compress},
        (SENT, EMPTY),
        "only kombu compresses",
    ),
    Publication(
        "headers by position",
        "headers as the tenth argument of `Producer.publish`",
        {"kombu": _by_position},
        (SENT, EMPTY),
        "only kombu takes headers by position",
    ),
    Publication(
        "pool",
        "with a producer out of `kombu.pools`",
        {"kombu": _out_of_a_pool},
        (SENT, EMPTY),
        "only kombu has producer pools",
    ),
    Publication(
        "`SimpleQueue.put`",
        "kombu's simple interface",
        {"kombu": _put},
        (SENT, EMPTY),
        "only kombu has it",
        _INSIDE,
    ),
    Publication(
        "`Master.create_task`",
        "aio-pika's pattern for workers",
        {"aio-pika": _awaited(_create_task)},
        (SENT, EMPTY),
        "only aio-pika has it",
        _INSIDE,
    ),
    Publication(
        "`RPC.call`",
        "aio-pika's pattern for remote calls",
        {"aio-pika": _awaited(_call)},
        (SENT, EMPTY),
        "only aio-pika has it",
        _INSIDE,
    ),
]
