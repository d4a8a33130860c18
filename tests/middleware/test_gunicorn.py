"""The WSGI middleware under gunicorn, with each kind of worker."""

import http.client
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

WORKERS = {
    "sync": [],
    "gthread": ["--threads", "8", "--keep-alive", "5"],
    "gevent": ["--keep-alive", "5"],
}


class Gunicorn:
    """A server with one worker, and the lines that it printed."""

    def __init__(self, worker: str) -> None:
        command = ["-m", "gunicorn", "tests.middleware.gunicorn_app:app", "--worker-class", worker]
        listen = ["--bind", "127.0.0.1:0", "--workers", "1", "--timeout", "60"]
        self.process = subprocess.Popen(
            [sys.executable, *command, *listen, *WORKERS[worker]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @cached_property
    def port(self) -> int:
        return int(self.wait_for(r"Listening at: http://127\.0\.0\.1:(\d+)")[0])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.printed.append(line)
                self._more.notify()

    def wait_for(self, pattern: str, times: int = 1) -> list[Any]:
        """Return what the pattern finds in all that was printed, once it is there so often."""

        def found() -> list[Any]:
            return re.findall(pattern, "".join(self.printed))

        with self._more:
            assert self._more.wait_for(lambda: len(found()) >= times, 60), self.printed
            return found()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self._reader.join(30)
            assert self.process.stdout is not None
            self.process.stdout.close()

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            yield connection

    def ask(self, path: str, request_id: str) -> tuple[str, str]:
        with self.connection() as connection:
            return ask_path(connection, path, request_id)


def ask_path(connection: http.client.HTTPConnection, path: str, request_id: str) -> tuple[str, str]:
    connection.request("GET", path, headers={"X-Request-Id": request_id})
    response = connection.getresponse()
    return response.read().decode(), str(response.getheader("X-Request-Id"))


@pytest.fixture(params=list(WORKERS), scope="module")
def gunicorn(request: pytest.FixtureRequest) -> Iterator[Gunicorn]:
    server = Gunicorn(request.param)
    yield server
    server.stop()


def test_requests_at_the_same_time_do_not_mix(gunicorn: Gunicorn) -> None:
    def one(n: int) -> tuple[str, str]:
        return gunicorn.ask(f"/?u-{n}", f"r-{n}")

    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(one, range(50)))
    assert answers == [(f"None r-{n} u-{n} u-{n}", f"r-{n}") for n in range(50)]
    lines = gunicorn.wait_for(r"LINE r-(\d+) u-(\d+) request completed: GET / 200 in ", 50)
    assert {int(number) for number, _ in lines} == set(range(50))
    assert all(number == user for number, user in lines)


def test_the_next_request_of_a_connection_starts_anew(gunicorn: Gunicorn) -> None:
    with gunicorn.connection() as connection:
        for n in range(3):
            assert ask_path(connection, f"/?k-{n}", f"k-{n}") == (
                f"None k-{n} k-{n} k-{n}",
                f"k-{n}",
            )


def test_an_exception_leaves_nothing_and_has_its_line(gunicorn: Gunicorn) -> None:
    body, shown = gunicorn.ask("/fail?eve", "f-1")
    assert "Internal Server Error" in body
    assert shown == "None"  # the server's own page
    gunicorn.wait_for(r"LINE f-1 eve request completed: GET /fail 500 in .* \(LookupError\)")
    assert gunicorn.ask("/?ada", "f-2")[0] == "None f-2 ada ada"


@pytest.mark.parametrize("path", ["/file", "/memory"])
def test_a_file_is_sent_by_the_server(gunicorn: Gunicorn, path: str) -> None:
    here = Path(__file__).with_name("gunicorn_app.py").read_text()
    expected = {"/file": here, "/memory": "in memory"}[path]
    assert gunicorn.ask(path, "r-1") == (expected, "r-1")


def test_a_client_that_leaves_is_noted_in_its_context(gunicorn: Gunicorn) -> None:
    with gunicorn.connection() as connection:
        connection.request("GET", "/endless?ada", headers={"X-Request-Id": "left-1"})
        with connection.getresponse() as response:
            assert response.read(4) == b"None"
    gunicorn.wait_for(r"LINE left-1 ada request completed: GET /endless 200 .*client disconnected")
