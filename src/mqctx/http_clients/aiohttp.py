"""Context through aiohttp: a client middleware for an `aiohttp.ClientSession`."""

from typing import Unpack

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from mqctx.http_clients._policy import OutgoingCallPolicy, Settings

__all__ = ["ContextMiddleware"]


class ContextMiddleware:
    """A client middleware that puts the context into the headers.

    `ClientSession(middlewares=[ContextMiddleware(hosts=["api.internal"])])`. aiohttp asks it for
    each redirect, but not for calls that bring `middlewares=` of their own. Put it last, after
    those that send a request again. The settings: `mqctx.http_clients.Settings`.

    Raises:
        ConfigurationError: a setting makes no sense; the message says what to write instead.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        self._policy = OutgoingCallPolicy(**settings)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send `request` with the context, if its host may see it."""
        url, own = str(request.url), request.headers
        with self._policy.logged(request.method, url) as answer:
            request.headers = own.copy()
            request.headers.update(self._policy.headers_for(url, own))
            try:
                response = await handler(request)
            finally:
                # Sent again, it is to carry the context and the span of that moment.
                request.headers = own
            answer.status = response.status
            return response
