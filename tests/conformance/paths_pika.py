"""pika: BlockingConnection, its generator, get and threads, SelectConnection, AsyncioConnection."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeAlias

from pika.spec import Basic

import mqctx
from mqctx import current
from mqctx.adapters import pika as adapter
from tests.conformance.model import AMBIENT, Path, handler_paths, nothing
from tests.conformance.session_pika import Session, run_asyncio, run_select
from tests.drivers.handling import PAUSE, SECONDS, Decorate, Handle, Send, Settle, Source
from tests.drivers.on_pika import (
    PikaWork,
    basic_consume,
    pika_channel,
    start_consuming,
)

Restoring: TypeAlias = Callable[[Any], AbstractContextManager[object]]


def threads(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    send: Send,
    decorate: Decorate,
) -> None:
    """`basic_consume` whose callback hands over to a thread, which settles through the loop."""
    work = PikaWork(handle, count, send)

    def settle(channel: Any, *message: Any) -> None:
        work.settle(channel, *message)
        if not work.left:
            channel.stop_consuming()

    def judge(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        verdict = work.judge(properties, body)
        if verdict is not Settle.LEAVE:
            settling = partial(settle, channel, method, properties, body, verdict)
            channel.connection.add_callback_threadsafe(mqctx.wrap(settling))

    with ThreadPoolExecutor(1) as pool:

        @decorate
        def on_message(*message: Any) -> None:
            pool.submit(mqctx.wrap(judge), *message)

        start_consuming(url, source, on_message)
    assert not work.left, f"{work.left} messages did not come"


def generator(
    url: str, source: Source, count: int, handle: Handle, *, restoring: Restoring
) -> None:
    """`for ... in channel.consume(...)`."""
    work = PikaWork(handle, count, adapter.publish)
    with pika_channel(url) as channel:
        channel.basic_qos(prefetch_count=1)
        deliveries = channel.consume(
            source.name, inactivity_timeout=SECONDS, arguments=source.arguments
        )
        for method, properties, body in deliveries:
            with restoring(properties):
                work.do(channel, method, properties, body)
            assert current() == AMBIENT
            if not work.left:
                break


def get(url: str, source: Source, count: int, handle: Handle, *, restoring: Restoring) -> None:
    """`BlockingChannel.basic_get`."""
    work = PikaWork(handle, count, adapter.publish)
    with pika_channel(url) as channel:
        while work.left:
            method, properties, body = channel.basic_get(source.name)
            if method is None:
                work.wait(channel.connection.sleep)
                continue
            with restoring(properties):
                work.do(channel, method, properties, body)
            assert current() == AMBIENT


def select(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    send: Send,
    decorate: Decorate,
) -> None:
    """`basic_consume` on a SelectConnection."""
    work = PikaWork(handle, count, send)

    def on_channel(channel: Any, session: Session) -> None:
        @decorate
        def on_message(*message: Any) -> None:
            work.do(*message)
            if not work.left:
                session.finish()

        channel.basic_consume(source.name, on_message, arguments=source.arguments)

    run_select(url, on_channel)


def select_get(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    send: Send,
    decorate: Decorate,
) -> None:
    """`basic_get` with a callback, on a SelectConnection."""
    work = PikaWork(handle, count, send)

    def on_channel(channel: Any, session: Session) -> None:
        @decorate
        def on_message(*message: Any) -> None:
            work.do(*message)
            if work.left:
                ask()
            else:
                session.finish()

        def ask() -> None:
            channel.basic_get(source.name, on_message)

        def on_empty(_: object) -> None:
            channel.connection.ioloop.call_later(PAUSE, ask)

        channel.add_callback(on_empty, [Basic.GetEmpty], one_shot=False)
        ask()

    run_select(url, on_channel)


def asyncio_task(
    url: str,
    source: Source,
    count: int,
    handle: Handle,
    *,
    send: Send,
    decorate: Decorate,
) -> None:
    """`basic_consume` on an AsyncioConnection, with a callback that starts a task."""
    work = PikaWork(handle, count, send)
    tasks: list[asyncio.Task[None]] = []

    def on_channel(channel: Any, session: Session) -> None:
        async def on_task(*message: Any) -> None:
            await asyncio.sleep(0)
            work.do(*message)
            if not work.left:
                session.finish()

        @decorate
        def on_message(*message: Any) -> None:
            tasks.append(asyncio.create_task(on_task(*message)))

        channel.basic_consume(source.name, on_message, arguments=source.arguments)

    asyncio.run(run_asyncio(url, on_channel))


_GENERATOR = "BlockingConnection, `consume` generator"
_GET = "BlockingConnection, `basic_get`"
_NO_GET = {"stream": "RabbitMQ refuses `basic.get` on a stream"}
_paths = partial(handler_paths, "pika")


PATHS = [
    *_paths("BlockingConnection, `basic_consume`", basic_consume),
    *_paths("BlockingConnection, `basic_consume` that hands over to a thread", threads),
    Path("pika", _GENERATOR, "restored", partial(generator, restoring=adapter.restored)),
    Path("pika", _GET, "restored", partial(get, restoring=adapter.restored), cannot=_NO_GET),
    *_paths("SelectConnection, `basic_consume`", select),
    *_paths("SelectConnection, `basic_get` with a callback", select_get, cannot=_NO_GET),
    *_paths("AsyncioConnection, `basic_consume` that starts a task", asyncio_task),
]

LEFT_ALONE = [
    Path("pika", _GENERATOR, "instrument", partial(generator, restoring=nothing)),
    Path("pika", _GET, "instrument", partial(get, restoring=nothing)),
]
"""Paths on which the client cannot tell when a message is done with."""
