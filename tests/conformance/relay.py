"""A connection to the broker that can be cut on both sides, without a word.

It closes; the proxy of the fault tests resets. Clients raise different errors for the two.
"""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.drivers.handling import SECONDS
from tests.drivers.pump import pump


class Relay:
    """Forward what clients of `url` say to the broker, in a thread of its own."""

    url: str
    """The broker's URL, by way of this relay."""

    def __init__(self, broker_url: str) -> None:
        self._broker = urlsplit(broker_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    def cut(self) -> None:
        """Close each connection, to both sides. New ones are accepted."""
        self._do(self._cut())

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login = self._broker.netloc.rpartition("@")[0]
        self.url = self._broker._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()

    async def _accept(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        host, port = self._broker.hostname, self._broker.port or 5672
        from_broker, to_broker = await asyncio.open_connection(host, port)
        self._writers += to_client, to_broker
        self._tasks += (
            asyncio.create_task(pump(from_client, to_broker)),
            asyncio.create_task(pump(from_broker, to_client)),
        )

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)
        self._writers.clear()
        self._tasks.clear()

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
