"""Find the Redis that the integration tests use: kombu's transport, and Celery's results.

The first that is there is taken: the server that ``MQCTX_TEST_REDIS_URL`` names, or the
``redis-server`` of this machine, which is started on a free port.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

SECONDS = 30.0
"""How long a server may take to start or to end."""

WAYS_OUT = """\
These tests need Redis. Any one of these gives it to them:
  1. Set MQCTX_TEST_REDIS_URL to the URL of a running server, such as redis://127.0.0.1:6379/0
     (docker run --rm -p 127.0.0.1:6379:6379 redis starts one).
  2. Install redis-server on this machine; on Debian or Ubuntu, `make redis` as root does."""


class NoRedisError(Exception):
    """There is no Redis; the message says what to do about it."""


@contextmanager
def find_redis(environ: Mapping[str, str] = os.environ) -> Generator[str]:
    """Give the URL of the Redis that the environment leads to.

    A server that was started is stopped afterwards, keeps nothing, and nothing else reaches it.

    Raises:
        NoRedisError: none is named, and none is installed.
    """
    if url := environ.get("MQCTX_TEST_REDIS_URL"):
        yield url
        return
    program = shutil.which("redis-server", path=environ.get("PATH", ""))
    if program is None:
        raise NoRedisError(WAYS_OUT)
    port = free_port()
    with TemporaryDirectory(prefix="mqctx-redis-") as directory:
        options = {"bind": "127.0.0.1", "port": str(port), "dir": directory, "save": ""}
        command = [program, *(part for key in options for part in (f"--{key}", options[key]))]
        with running(command, Path(directory) / "output.log") as process:
            wait_until_it_listens(port, process)
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def running(
    command: list[str], log: Path, environ: Mapping[str, str] = os.environ
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program; stop it at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_listens(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a server listens."""
    until = time.monotonic() + SECONDS
    while True:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, f"{process.args!r} ended"
        assert time.monotonic() < until, f"{process.args!r} does not answer"
        time.sleep(0.05)
