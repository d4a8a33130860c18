"""For WSGI applications: Flask, Django, or none of them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias, Unpack, cast

from mqctx._core.settings import check_callable
from mqctx._core.values import type_name
from mqctx.middleware._access_log import GONE
from mqctx.middleware._request import UNDER_WAY, Request, RequestContextBuilder, request_under_way
from mqctx.middleware._settings import Settings

__all__ = ["ContextMiddleware"]

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
# It returns an iterable of bytes, but the annotations of Django's handler do not say so.
App: TypeAlias = Callable[[Any, Any], Any]

_WITHOUT_PREFIX: Final = ("CONTENT_TYPE", "CONTENT_LENGTH")


class ContextMiddleware:
    """Run each request inside a context of its own.

    The context has `request_id`, the trace, the chosen headers and values, and what stays in the
    process: `http.request.method`, `url.path`, `client.address`, `http.request.start_time`. It is
    active for all that the application does, also while a streamed response is iterated and closed;
    `bind` adds to it. Afterwards the context outside is active again. No context variable that is
    set inside gets out, not even to the next request of the thread.

    The response shows the request id. Once it is complete, one line is logged. A request that
    another instance already serves passes untouched.

    Args:
        app: The application.
        settings: The keyword arguments that `mqctx.middleware.Settings` lists.

    Raises:
        ConfigurationError: a setting makes no sense; the message says what to write instead.
    """

    def __init__(self, app: App, **settings: Unpack[Settings]) -> None:
        self._builder = RequestContextBuilder(**settings)
        check_callable("app", app, "the WSGI application")
        self.app = app
        self._wanted = [(_environ_key(header), header) for header in self._builder.wanted]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if UNDER_WAY in environ or _is_handed_on(environ):
            return cast("Iterable[bytes]", self.app(environ, start_response))
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        request = self._builder.build(
            {header: _text(environ[key]) for key, header in self._wanted if key in environ},
            environ["REQUEST_METHOD"],
            _text(path),
            (environ.get("REMOTE_ADDR"),),
        )
        response = _Response(request, self._builder.id_header, environ, start_response)
        # In a snapshot, not a scope: the server comes back for the body after this has returned.
        return response.snapshot.run(response.call, self.app)


class _Response:
    """A response under way; also its body, each step of which runs in the request's snapshot."""

    __slots__ = (
        *("_begun", "_body", "_brought", "_environ", "_id_header", "_iterator", "_request"),
        *("_start_response", "_status", "snapshot"),
    )

    _body: Iterable[bytes]
    _iterator: Iterator[bytes] | None

    def __init__(
        self,
        request: Request,
        id_header: str,
        environ: Environ,
        start_response: StartResponse,
    ) -> None:
        self.snapshot = request.context.snapshot(request)
        self._request = request
        self._id_header = id_header
        self._environ = environ
        self._brought: dict[str, Any] = {}
        self._start_response = start_response
        self._iterator = None
        self._status = 0
        self._begun = False

    def call(self, app: App) -> Iterable[bytes]:
        self._environ[UNDER_WAY] = True
        self._show_new_id_to_application()
        try:
            self._body = app(self._environ, self._start)
        except BaseException as error:
            self._fail(error)
            raise
        if not self._is_opaque():
            return self
        self._end(self._status or 500)  # who returns without a call of start_response gets a 500
        return self._body

    def _start(
        self, status: str, headers: list[tuple[str, str]], *exc_info: Any
    ) -> Callable[[bytes], object]:
        # A status that has no number is the server's to refuse.
        self._status = int(status[:3]) if status[:3].isdecimal() else 0
        return self._start_response(status, self._with_id(headers), *exc_info)

    def _with_id(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the response's headers with the request id, unless the application set one."""
        request_id, id_key = self._request.id, self._request.settings.id_key
        if not request_id or id_key in [key.lower() for key, _ in headers]:
            return headers
        return [*headers, (self._id_header, request_id)]

    def _show_new_id_to_application(self) -> None:
        if self._request.is_new_id:
            key = _environ_key(self._id_header)
            self._brought = {key: self._environ.get(key)}
            self._environ[key] = self._request.id

    def _is_opaque(self) -> bool:
        """Tell whether the server must see the body itself; to iterate it runs no application code.

        A server counts the items of a list to know the length (PEP 3333, "Handling the
        Content-Length Header"), and sends the file in its own wrapper without iterating.
        """
        file_wrapper = self._environ.get("wsgi.file_wrapper")
        kinds = (list, tuple, file_wrapper) if isinstance(file_wrapper, type) else (list, tuple)
        return isinstance(self._body, kinds)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self.snapshot.run(self._step)

    def _step(self) -> bytes:
        try:
            # Only here: to ask a body for its iterator may run the application's code.
            if self._iterator is None:
                self._iterator = iter(self._body)
            chunk = next(self._iterator)
        except StopIteration:
            self._end(self._status or 500)
            raise
        except BaseException as error:
            self._fail(error)
            raise
        self._begun = True
        return chunk

    def close(self) -> None:
        """Close the application's body. Servers always call this."""
        self.snapshot.run(self._close)

    def _close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._end(self._status or 499, GONE)

    def _fail(self, error: BaseException) -> None:
        # Until the first chunk no header is sent (PEP 3333), so the server answers with a 500.
        status = self._status if self._begun else 500
        self._end(status, type_name(type(error)))

    def _end(self, status: int, error: str | None = None) -> None:
        self._request.line.completed(status, error)
        # A caller may use the same environ again.
        for key, value in {UNDER_WAY: None, **self._brought}.items():
            _set_or_remove(self._environ, key, value)


def _set_or_remove(environ: Environ, key: str, value: object) -> None:
    if value is None:
        environ.pop(key, None)
    else:
        environ[key] = value


def _is_handed_on(environ: Environ) -> bool:
    outer = request_under_way()
    if outer is None:
        return False

    def header(name: str) -> str:
        return _text(environ.get(_environ_key(name), ""))

    return outer.is_handed_on(
        environ["REQUEST_METHOD"], _text(environ.get("PATH_INFO", "")), header
    )


def _environ_key(header: str) -> str:
    key = header.upper().replace("-", "_")
    return key if key in _WITHOUT_PREFIX else f"HTTP_{key}"


def _text(value: str) -> str:
    """Return the text of a header or a path, whose bytes WSGI gives as Latin-1."""
    if value.isascii():
        return value
    return value.encode("latin-1", "replace").decode(errors="surrogateescape")
