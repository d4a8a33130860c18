"""Asking over TCP with as little as asyncio allows, and a server that says the same again."""

import asyncio
import multiprocessing
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeAlias, cast

Address: TypeAlias = tuple[str, int]

END = b"\r\n\r\nOK"
"""Ends each question that is echoed, and each answer."""


class Connection(asyncio.Protocol):
    """A connection on which one question at a time waits for its answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what sends."""
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, question: bytes) -> asyncio.Future[None]:
        """Send it, and return what is done when the answer is there."""
        self._answer = b""
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport.write(question)
        return self._answered

    def data_received(self, data: bytes) -> None:
        """Look whether this is all."""
        self._answer += data
        if self._answer.endswith(END):
            self._answered.set_result(None)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


class Connections:
    """As many connections as there are questions at a time, to one address."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Connection] = []

    async def ask(self, question: bytes) -> None:
        """Ask on a connection that is idle, or a new one."""
        connection = self._idle.pop() if self._idle else await self._connect()
        await connection.ask(question)
        self._idle.append(connection)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, *self._address)
        return connection

    def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            self._idle.pop().close()


@contextmanager
def serving(serve: Callable[..., object], *arguments: Any) -> Iterator[Address]:
    """Run `serve(listening socket, *arguments)` in another process; give the socket's address."""
    # Named, for asyncio sends without delay (Nagle) only where it knows that it is TCP.
    with closing(socket.socket(proto=socket.IPPROTO_TCP)) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(target=serve, args=(listening, *arguments))
        process.start()
        try:
            yield listening.getsockname()
        finally:
            process.terminate()
            process.join()


def echo(listening: socket.socket) -> None:
    """Say again what is asked, until the process is told to end."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Echo, sock=listening)
        await server.serve_forever()

    asyncio.run(serve())


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)
