"""The server as an ASGI application sees it, in one request or websocket."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from mqctx._core.lending import Surroundings
from mqctx._core.values import type_name
from mqctx.middleware._access_log import GONE, AccessLine

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

IdHeader: TypeAlias = tuple[bytes, bytes]
"""The header that shows the request id; an empty one is not shown."""

_BODIES: Final = frozenset(
    ("http.response.body", "http.response.zerocopysend", "http.response.pathsend")
)

_STARTS: Final = frozenset(("websocket.accept", "websocket.http.response.start"))


class AsgiServer(Protocol):
    """The server, as the application sees it: looked at for the log, and given the request id.

    The server itself is awaited in context variables of its own. It starts things that outlive the
    request: uvicorn reads further requests of the connection from where it is awaited last.
    """

    async def receive(self) -> Any:
        """Give the application the server's next message."""
        ...

    async def send(self, message: Message) -> None:
        """Give the server a message of the application, the first one with the request id."""
        ...

    def end(self, error: BaseException | None) -> None:
        """Log how it ended, unless that is done: the application returned, or raised `error`."""
        ...


class _HttpServer(msgspec.Struct, eq=False):
    _line: AccessLine
    _id_header: IdHeader
    _receive: Receive
    _send: Send
    _outside: Surroundings
    _status: int = 0
    _complete: bool = False
    _loss: str | None = None

    async def receive(self) -> Any:
        message = await _received(self._receive, self._outside)
        # After the response, a disconnect is the only message there is, and says nothing new.
        if message["type"] == "http.disconnect" and not self._complete:
            self._loss = GONE
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            message = _with_id(message, self._id_header)
        elif kind in _BODIES:
            self._complete = not message.get("more_body", False)
        try:
            rest = self._outside.lend_to(self._send, message)
            if rest is not None:
                await rest
        except OSError:  # what a server raises where the client is gone (ASGI 2.4)
            self._loss = GONE
            raise
        # A framework that answers an exception with a 5xx raises it afterwards: wait for it.
        if self._complete and self._status < 500 and not self._line.settled:
            self._line.completed(self._status, self._loss)

    def end(self, error: BaseException | None) -> None:
        note = self._loss or _name(error) or (None if self._complete else "no complete response")
        self._line.completed(self._status or self._unanswered(error), note)

    def _unanswered(self, error: BaseException | None) -> int:
        """Return the status of a request that got no answer."""
        # A cancellation is no Exception: the server cancels when there is nobody to answer.
        nobody_waits = self._loss or not isinstance(error, Exception | None)
        return 499 if nobody_waits else 500


class _WebSocketServer(msgspec.Struct, eq=False):
    _line: AccessLine
    _id_header: IdHeader
    _receive: Receive
    _send: Send
    _outside: Surroundings
    _open: bool = False
    _code: int = 0
    _status: int = 0

    async def receive(self) -> Any:
        message = await _received(self._receive, self._outside)
        if message["type"] == "websocket.disconnect":
            self._ended(message.get("code", 1005), 499)
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in _STARTS:
            self._open = kind == "websocket.accept"
            self._status = message.get("status", 0)
            message = _with_id(message, self._id_header)
        elif kind == "websocket.close":
            self._ended(message.get("code", 1000), 403)
        rest = self._outside.lend_to(self._send, message)
        if rest is not None:
            await rest

    def _ended(self, code: int, status: int) -> None:
        self._code = self._code or code
        self._status = self._status or status

    def end(self, error: BaseException | None) -> None:
        if self._open:
            # If neither side named a code, the server closes with one of these: RFC 6455 7.4.1.
            self._line.closed(self._code or (1011 if error else 1000), _name(error))
        else:
            self._line.completed(self._status or 500, _name(error))


SERVERS: Final[Mapping[str, Callable[..., AsgiServer]]] = {
    "http": _HttpServer,
    "websocket": _WebSocketServer,
}
"""The kinds of scope that get a context, and what stands for the server in each."""


async def _received(receive: Receive, outside: Surroundings) -> Any:
    answer: list[Any] = []
    rest = outside.lend_to(_receive_into, (receive, answer))
    if rest is not None:
        await rest
    return answer[0]


async def _receive_into(argument: tuple[Receive, list[Any]]) -> None:
    receive, answer = argument
    answer.append(await receive())


def _name(error: BaseException | None) -> str | None:
    return None if error is None else type_name(type(error))


def _with_id(message: Message, id_header: IdHeader) -> Message:
    """Return the start of a response with the request id, unless the application set one."""
    kept: list[tuple[bytes, bytes]] = [*(message.get("headers") or ())]
    id_key, text = id_header
    if not text:
        return message
    for name, _ in kept:
        if len(name) == len(id_key) and name.lower() == id_key:
            return message
    kept.append(id_header)
    return {**message, "headers": kept}
