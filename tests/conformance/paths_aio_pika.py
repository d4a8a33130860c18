"""aio-pika: callbacks, iterators, get, and the patterns that stand on callbacks."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, cast

from aio_pika.abc import AbstractIncomingMessage

from mqctx import current
from mqctx.adapters import aio_pika as adapter
from tests.conformance.model import AMBIENT, Consume, Path, Way, bare, nothing
from tests.conformance.patterns_aio_pika import master_worker, rpc
from tests.drivers.handling import PAUSE, Decorate, Handle, Send, Source
from tests.drivers.on_aio_pika import Connect, plain, queue_consume, robust, send_raw, working

Main: TypeAlias = Callable[..., Coroutine[Any, Any, None]]


def path_of(main: Main, **options: Any) -> Consume:
    """Make a path of a coroutine function that does it with these options."""

    def consume(url: str, source: Source, count: int, handle: Handle) -> None:
        asyncio.run(main(url, source, count, handle, **options))

    return consume


async def sync_callbacks(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    send: Send,
    decorate: Decorate,
) -> None:
    """`queue.consume` with a `def`, which starts a task for what is to be awaited."""
    tasks: list[asyncio.Task[None]] = []
    async with working(plain, url, handle, count) as work:

        @decorate
        def on_message(message: AbstractIncomingMessage) -> None:
            settling = work.settle(message, work.judge(message), send)
            tasks.append(asyncio.create_task(work.finish(settling)))

        queue = await work.channel.get_queue(source.name)
        await queue.consume(cast("Any", on_message), arguments=source.arguments)
        await work.wait()


async def iterator(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    connect: Connect,
    send: Send,
    restoring: Callable[[Any], Any],
) -> None:
    """`queue.iterator()` under `async with`."""
    async with working(connect, url, handle, count) as work:
        queue = await work.channel.get_queue(source.name)
        async with queue.iterator(arguments=source.arguments) as messages:
            async for message in messages:
                with restoring(message):
                    await work.do(message, send)
                assert restoring is nothing or current() == AMBIENT
                if not work.left:
                    break
        assert current() == AMBIENT
        await work.wait()


async def bare_iterator(
    url: str, source: Source, count: int, handle: Handle, *, send: Send
) -> None:
    """`async for message in queue`, and `message.process()` in its body."""
    async with working(plain, url, handle, count) as work:
        queue = await work.channel.get_queue(source.name)
        async for message in queue.iterator(arguments=source.arguments):
            async with message.process(ignore_processed=True):
                await work.do(message, send)
            assert current() == AMBIENT
            if not work.left:
                break
        await work.wait()


async def get(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    send: Send,
    restoring: Callable[[Any], Any],
) -> None:
    """`queue.get`."""
    async with working(plain, url, handle, count) as work:
        queue = await work.channel.get_queue(source.name)
        while work.left:
            message = await queue.get(fail=False)
            if message is None:
                await asyncio.sleep(PAUSE)
                continue
            with restoring(message):
                await work.do(message, send)
            assert current() == AMBIENT


async def get_and_process(
    url: str, source: Source, count: int, handle: Handle, *, send: Send
) -> None:
    """`queue.get`, and `message.process()`."""
    async with working(plain, url, handle, count) as work:
        queue = await work.channel.get_queue(source.name)
        while work.left:
            message = await queue.get(fail=False)
            if message is None:
                await asyncio.sleep(PAUSE)
                continue
            async with message.process(ignore_processed=True):
                await work.do(message, send)
            assert current() == AMBIENT


_NO_GET = {"stream": "RabbitMQ refuses `basic.get` on a stream"}
_NO_ARGUMENTS = {
    "stream": "aio-pika's patterns ask for no `x-stream-offset`, so they read from the end only"
}
_WORKER = _NO_ARGUMENTS | {
    "published on": "the function gets the payload only, not the message that it could publish on"
}
_RPC = _WORKER | dict.fromkeys(
    ["requeued", "rejected", "delivery limit"],
    "an RPC function answers, and with that acks; it cannot reject or requeue",
)


def _path(name: str, way: Way, consume: Consume, **more: Any) -> Path:
    return Path("aio-pika", name, way, consume, **more)


def _decorated_and_instrumented(name: str, main: Main, **options: Any) -> list[Path]:
    decorated = {"send": adapter.publish, "decorate": adapter.consume_with_context}
    instrumented = {"send": send_raw, "decorate": bare}
    more = {"reconnects": options.get("connect") is robust}
    return [
        _path(name, "consume_with_context", path_of(main, **options, **decorated), **more),
        _path(name, "instrument", path_of(main, **options, **instrumented), **more),
    ]


def _restored_and_instrumented(name: str, connect: Connect, **more: Any) -> list[Path]:
    restored = path_of(iterator, connect=connect, send=adapter.publish, restoring=adapter.restored)
    instrumented = path_of(iterator, connect=connect, send=send_raw, restoring=nothing)
    return [
        _path(name, "restored", restored, **more),
        _path(name, "instrument", instrumented, **more),
    ]


PATHS = [
    *_decorated_and_instrumented("`queue.consume`", queue_consume, connect=plain),
    *_decorated_and_instrumented(
        "`queue.consume` on a robust connection", queue_consume, connect=robust
    ),
    *_decorated_and_instrumented("`queue.consume` with a sync callback", sync_callbacks),
    *_restored_and_instrumented("`async with queue.iterator()`", plain),
    *_restored_and_instrumented(
        "`async with queue.iterator()` on a robust connection", robust, reconnects=True
    ),
    _path(
        "`async for message in queue`, `message.process()`",
        "instrument",
        path_of(bare_iterator, send=send_raw),
    ),
    _path(
        "`queue.get`",
        "restored",
        path_of(get, send=adapter.publish, restoring=adapter.restored),
        cannot=_NO_GET,
    ),
    _path(
        "`queue.get`, `message.process()`",
        "instrument",
        path_of(get_and_process, send=send_raw),
        cannot=_NO_GET,
    ),
    _path("Master's worker", "instrument", path_of(master_worker), cannot=_WORKER),
    _path("RPC function and its reply", "instrument", path_of(rpc), cannot=_RPC, replies=True),
]

LEFT_ALONE = [_path("`queue.get`", "instrument", path_of(get, send=send_raw, restoring=nothing))]
"""Paths on which the client cannot tell when a message is done with."""
