"""A server on 127.0.0.1 that remembers what reached it. As `localhost` it is another host."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qs, quote, urlsplit

SECONDS = 20


@dataclass
class Seen:
    """A request as it reached the server."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def host(self) -> str:
        return str(self.headers["Host"]).partition(":")[0]


class Server(ThreadingHTTPServer):
    """Answers to `/`, and to the paths that `Handler` has a method for."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[Seen] = []
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.all_are_here = threading.Barrier(1)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}{path}"

    def redirecting(self, to: str, host: str = "127.0.0.1", status: int = 302) -> str:
        return self.url(f"/redirect?status={status}&to={quote(to, safe='')}", host)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = cast("Server", self.server)
        server.seen.append(Seen(self.command, self.path, self.headers, self.read()))
        server.asked.set()
        answer = getattr(self, f"answer_{urlsplit(self.path).path[1:]}", self.answer)
        answer(server)

    do_POST = do_GET  # noqa: N815 - the name that http.server asks for

    def read(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(
        self, server: Server, status: int = 200, *, body: bytes = b"ok", **headers: str
    ) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer_redirect(self, server: Server) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.answer(server, int(query["status"][0]), Location=query["to"][0])

    def answer_together(self, server: Server) -> None:
        server.all_are_here.wait(SECONDS)
        self.answer(server)

    def answer_late(self, server: Server) -> None:
        server.go_on.wait(SECONDS)
        self.close_connection = True

    def answer_stream(self, server: Server) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        server.go_on.wait(SECONDS)
        self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")

    def answer_digest(self, server: Server) -> None:
        if self.headers["Authorization"]:
            self.answer(server)
        else:
            challenge = 'Digest realm="shop", nonce="n-1", qop="auth", algorithm=SHA-256'
            # aiohttp forgets this answer without a look at its body, which might be still to come.
            self.answer(server, 401, body=b"", WWW_Authenticate=challenge)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
            thread.join()
