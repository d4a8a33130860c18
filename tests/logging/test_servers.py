"""Which lines of uvicorn, hypercorn, granian and gunicorn carry the context of a request."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.logging.site import LOGGING

ROOT = Path(__file__).parents[2]
SECONDS = 30.0
"""How long a server may take to start, and to end."""

SERVERS = {
    "uvicorn": ["uvicorn", "--port=0", "--log-config=log.json", "tests.logging.site:asgi"],
    "hypercorn": [
        *("hypercorn", "--bind=127.0.0.1:0", "--config=file:conf_hypercorn.py"),
        "tests.logging.site:asgi",
    ],
    "granian": [
        *("granian", "--interface=asgi", "--log-config=log.json", "--access-log"),
        '--access-log-fmt="%(method)s %(path)s?%(query_string)s %(protocol)s" %(status)d',
        *("--port=PORT", "tests.logging.site:asgi"),
    ],
    "gunicorn sync": ["gunicorn", "--config=conf.py", "tests.logging.site:wsgi"],
    "gunicorn asgi": ["gunicorn", "--config=conf.py", "-k=asgi", "tests.logging.site:asgi"],
    "gunicorn uvicorn": [
        *("gunicorn", "--config=conf.py"),
        *("-k=uvicorn.workers.UvicornWorker", "tests.logging.site:asgi"),
    ],
}
# uvicorn writes an access line when the application starts its answer, or by itself if it fails.
BY_UVICORN = [(["GET /?r-1 HTTP/1.1", " 200"], "r-1"), (["GET /fail?r-2 HTTP/1.1", " 500"], None)]
# hypercorn likewise. granian does outside of Python's code, and for the log of its own process.
BY_HYPERCORN = [(["GET /?r-1 1.1", " 200"], "r-1"), (["GET /fail?r-2 1.1", " 500"], None)]
BY_GRANIAN = [(shown, None) for shown, _ in BY_UVICORN]
# gunicorn does when the application is done; it can show headers of the answer.
BY_GUNICORN = [(["GET /?r-1 HTTP/1.1 r-1"], None), (["GET /fail?r-2 HTTP/1.1 -"], None)]
ACCESS_LINES = {
    "uvicorn": BY_UVICORN,
    "hypercorn": BY_HYPERCORN,
    "granian": BY_GRANIAN,
    "gunicorn sync": BY_GUNICORN,
    "gunicorn asgi": BY_GUNICORN,
    "gunicorn uvicorn": BY_UVICORN,
}
GUNICORN = """
from tests.logging.site import LOGGING as logconfig_dict

bind = "127.0.0.1:0"
control_socket_disable = True
access_log_format = "%(r)s %({x-request-id}o)s"
"""
HYPERCORN = """
from tests.logging.site import LOGGING as logconfig_dict

accesslog = errorlog = "-"
access_log_format = '"%(R)s" %(s)s'
"""


@dataclass(frozen=True, slots=True)
class Served:
    """The log lines of a server."""

    server: str
    lines: list[dict[str, Any]]

    def ids(self, message: str) -> list[object]:
        """Return the request id of each line that says so, None where there is none."""
        said = [line for line in self.lines if re.search(message, line["message"])]
        return [line.get("request_id") for line in said]


@pytest.fixture(scope="module", params=SERVERS)
def server_logs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Return what a server logs of a request that it answers, r-1, and one that fails, r-2."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "log.json").write_text(json.dumps(LOGGING))
    (folder / "conf.py").write_text(GUNICORN)
    (folder / "conf_hypercorn.py").write_text(HYPERCORN)
    command = SERVERS[request.param]
    with (folder / "out").open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", *(part.replace("PORT", str(free_port())) for part in command)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            visit(wait_for_port(folder / "out", server))
        finally:
            server.terminate()
            server.wait(SECONDS)
    lines = (folder / "out").read_text().splitlines()
    return Served(request.param, [json.loads(line) for line in lines])


def wait_for_port(out: Path, server: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", out.read_text())
        if found and listens(int(found[1])):
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(f"the server did not start: {out.read_text()}")


def listens(port: int) -> bool:
    try:  # granian says that it listens before its worker does
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def visit(port: int) -> None:
    for path, status in (("/?r-1", 200), ("/fail?r-2", 500)):
        connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.request("GET", path)
        assert connection.getresponse().status == status
        connection.close()


def test_each_line_of_the_application_carries_it(server_logs: Served) -> None:
    assert server_logs.ids("^working$") == ["r-1", "r-2"]


def test_what_the_server_says_of_itself_carries_none(server_logs: Served) -> None:
    assert set(server_logs.ids("(?i)listening at|running on|shutting down")) == {None}


def test_the_access_lines_carry_it_where_the_application_writes_them(server_logs: Served) -> None:
    lines = [line for line in server_logs.lines if re.search('(^|")GET /', line["message"])]
    assert [
        (line["message"].split('"')[-2:], line.get("request_id")) for line in lines
    ] == ACCESS_LINES[server_logs.server]


def test_the_servers_line_of_an_exception_comes_after_the_application_and_carries_none(
    server_logs: Served,
) -> None:
    said = "Exception in ASGI|Error in ASGI|Error handling request|raised an exception"
    assert server_logs.ids(said) == [None]
