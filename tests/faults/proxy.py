"""A TCP proxy whose connections can be cut: it stands for the network, or a load balancer."""

import asyncio
import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.drivers.pump import pump

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_NO_LINGER = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends RST, whatever is still to be sent or read."""


class Proxy:
    """Forward what comes to a port of its own to the targets in turn, past those that refuse."""

    def __init__(self, *urls: str) -> None:
        """Forward to the brokers of these URLs, which differ in host and port only."""
        self.port = 0
        self._parts = [urlsplit(url) for url in urls]
        self._turn = itertools.count()
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """The URL of the brokers behind the proxy."""
        parts = self._parts[0]
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}").geturl()

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Forward in a thread of its own, during the block."""
        thread = threading.Thread(target=asyncio.run, args=(self._main(),), daemon=True)
        thread.start()
        assert self._ready.wait(30)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stopped.set)
            thread.join(30)
            assert not thread.is_alive()

    def cut(self) -> int:
        """Reset every connection on both sides; return how many sides there were."""
        return asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(30)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stopped.wait()
            server.close()
            await self._cut()
            if self._serving:
                await asyncio.wait(self._serving, timeout=30)

    async def _cut(self) -> int:
        for writer in self._open:
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
            )
            writer.transport.abort()
        return len(self._open)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = await self._reach()
        if target is None:
            writer.close()
            return
        sides = {writer, target[1]}
        self._open |= sides
        await asyncio.wait(
            [
                asyncio.create_task(pump(reader, target[1])),
                asyncio.create_task(pump(target[0], writer)),
            ]
        )
        self._open -= sides

    async def _reach(self) -> Stream | None:
        first = next(self._turn)
        for number in range(len(self._parts)):
            parts = self._parts[(first + number) % len(self._parts)]
            with suppress(OSError):
                return await asyncio.open_connection(parts.hostname, parts.port or 5672)
        return None
