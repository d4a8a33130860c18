"""Context through requests: an adapter to mount on a `requests.Session`."""

from typing import Any, Unpack, cast

from requests import PreparedRequest, RequestException, Response
from requests.adapters import BaseAdapter

from mqctx.http_clients._policy import OutgoingCallPolicy, Settings

__all__ = ["ContextAdapter"]


class ContextAdapter(BaseAdapter):
    """An adapter that sends through another one, with the context in the headers.

    `session.mount("https://", ContextAdapter(HTTPAdapter(), hosts=["api.internal"]))`, and the
    same for `"http://"`. `hosts` decides who may see the context, not the prefix, which may match
    more than one host. The settings: `mqctx.http_clients.Settings`.

    Raises:
        ConfigurationError: a setting makes no sense; the message says what to write instead.
    """

    def __init__(self, adapter: BaseAdapter, **settings: Unpack[Settings]) -> None:
        super().__init__()
        self._adapter = adapter
        self._policy = OutgoingCallPolicy(**settings)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a copy of `request` that carries the context, if its host may see it."""
        with self._policy.logged(str(request.method), str(request.url)) as answer:
            try:
                response = self._adapter.send(self._with_context(request), *args, **kwargs)
            except RequestException as error:
                error.request = request
                raise
            # HTTPDigestAuth sends it again by this connection: with the context and the span of
            # that moment, not those of this call.
            response.request, response.connection = request, cast("Any", self)
            answer.status = response.status_code
            return response

    def close(self) -> None:
        """Close the inner adapter."""
        self._adapter.close()

    def _with_context(self, request: PreparedRequest) -> PreparedRequest:
        added = self._policy.headers_for(str(request.url), request.headers)
        if not added:
            return request
        # A copy: requests makes the request of a redirect from the headers of this one.
        sent = request.copy()
        sent.headers.update(added)
        return sent
