"""Context through httpx: transports for `httpx.Client` and `httpx.AsyncClient`."""

from typing import Generic, TypeVar, Unpack

import httpx

from mqctx.http_clients._policy import PORTS, OutgoingCallPolicy, Settings

__all__ = ["AsyncContextTransport", "ContextTransport"]

T = TypeVar("T")
_new = object.__new__

# A transport, because it is asked for each redirect and sees errors. Event hooks see no errors, and
# what they write into a request goes on to wherever it is redirected.


class _Carrying(Generic[T]):
    """Sends through another transport."""

    def __init__(self, transport: T, **settings: Unpack[Settings]) -> None:
        self._transport = transport
        self._policy = OutgoingCallPolicy(**settings)


class ContextTransport(_Carrying[httpx.BaseTransport], httpx.BaseTransport):
    """A transport that sends through another one, with the context in the headers.

    `httpx.Client(transport=ContextTransport(httpx.HTTPTransport(), hosts=["api.internal"]))`.
    Give the inner transport the settings that a client with a transport of its own ignores
    (`verify`, `http2`, `limits`, proxies of the environment), and those that would go around it
    (`proxy=`). The settings: `mqctx.http_clients.Settings`.

    Raises:
        ConfigurationError: a setting makes no sense; the message says what to write instead.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a copy of `request` that carries the context, if its host may see it."""
        sent = _with_context(request, self._policy)
        if not self._policy.log:
            return self._transport.handle_request(sent)
        with self._policy.logged(request.method, str(request.url)) as answer:
            response = self._transport.handle_request(sent)
            answer.status = response.status_code
            return response

    def close(self) -> None:
        """Close the inner transport."""
        self._transport.close()


class AsyncContextTransport(_Carrying[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport):
    """Like `ContextTransport`, for `httpx.AsyncClient` and around an async transport."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a copy of `request` that carries the context, if its host may see it."""
        sent = _with_context(request, self._policy)
        if not self._policy.log:
            return await self._transport.handle_async_request(sent)
        with self._policy.logged(request.method, str(request.url)) as answer:
            response = await self._transport.handle_async_request(sent)
            answer.status = response.status_code
            return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._transport.aclose()


def _with_context(request: httpx.Request, policy: OutgoingCallPolicy) -> httpx.Request:
    url, own = request.url, request.headers.raw
    port = url.port or PORTS.get(url.scheme)
    # From the bytes, and all at once: `in` would decode them, to find out how they are encoded.
    present = b" ".join([name for name, _ in own]).lower().decode("latin-1").split(" ")
    added = policy.headers_to(url.raw_host.decode("ascii"), port, present)
    if not added:
        return request
    # A copy: httpx makes the request of a redirect from the headers of this one.
    headers = httpx.Headers(own + [(name.encode(), text.encode()) for name, text in added.items()])
    # By its attributes: to make one anew would look at method and URL once more.
    sent = _new(httpx.Request)
    vars(sent).update(vars(request))
    sent.headers, sent.extensions = headers, {**request.extensions}
    return sent
