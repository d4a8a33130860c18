"""Context through aiohttp: a client middleware for an `aiohttp.ClientSession`."""

from typing import Unpack

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from mqctx.http_clients._policy import OutgoingCallPolicy, Settings

__all__ = ["ContextMiddleware"]


class ContextMiddleware:
    """A client middleware that puts the context into the headers.

    `ClientSession(middlewares=[ContextMiddleware(hosts=["api.internal"])])`. aiohttp asks it for
    each redirect, and for none of the calls that bring `middlewares=` of their own. Where others
    send a request again, put it last. The settings: `mqctx.http_clients.Settings`.

    Raises:
        ConfigurationError: a setting cannot be meant; it says what to write instead.
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
                # Who sends it again is to send the context and the span of then.
                request.headers = own
            answer.status = response.status
            return response
