"""aio-pika's patterns, whose functions get of a message no more than the payload."""

import asyncio
from typing import Any, cast

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.patterns import JsonMaster, JsonRPC, NackMessage, RejectMessage

from tests.drivers.handling import Handle, Settle, Source
from tests.drivers.on_aio_pika import AioPikaWork, plain, working


class _CountingMaster(JsonMaster):
    """A Master that tells when a message is settled, which its worker's function cannot."""

    work: AioPikaWork

    async def on_message(self, func: Any, message: AbstractIncomingMessage) -> None:
        await self.work.finish(super().on_message(func, message))


async def master_worker(url: str, source: Source, count: int, handle: Handle) -> None:
    """The function of a Master's worker, which settles its message by what it raises."""
    async with working(plain, url, handle, count) as work:

        async def function(**payload: Any) -> None:
            verdict = work.judge_payload(**payload)
            if verdict is Settle.REQUEUE:
                raise NackMessage(requeue=True)
            if verdict is Settle.REJECT:
                raise RejectMessage(requeue=False)
            if verdict is Settle.LEAVE:
                await asyncio.Event().wait()  # until the connection is lost

        master = _CountingMaster(work.channel)
        master.work = work
        await master.create_worker(source.name, function, passive=True)
        await work.wait()


class _CountingRPC(JsonRPC):
    """An RPC that tells when a call is answered, which its function cannot."""

    work: AioPikaWork

    async def on_call_message(self, method_name: str, message: Any) -> None:
        await self.work.finish(super().on_call_message(method_name, message))


async def rpc(url: str, source: Source, count: int, handle: Handle) -> None:
    """The function of an RPC, and the reply to its caller."""
    async with working(plain, url, handle, count) as work:

        async def function(**payload: Any) -> None:
            if work.judge_payload(**payload) is Settle.LEAVE:
                await asyncio.Event().wait()  # until the connection is lost

        server = cast("_CountingRPC", await _CountingRPC.create(work.channel))
        server.work = work
        await server.register(source.name, function, passive=True)
        await work.wait()
