"""Containers of RabbitMQ on fixed ports of 127.0.0.1, which can be stopped and started."""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pika.exceptions import AMQPError

from tests.integration.broker import DEFAULT_IMAGE, server_version

START_SECONDS = 120.0
PULL_SECONDS = 600.0
_DOCKER = shutil.which("docker") or "docker"


def docker(*arguments: str) -> str:
    """Run the docker command; return what it prints.

    Raises:
        RuntimeError: it failed; the message has what it said.
    """
    done = subprocess.run(
        [_DOCKER, *arguments], capture_output=True, text=True, timeout=PULL_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout.strip()


def engine_answers() -> bool:
    """Whether there is a docker command, and an engine that answers it."""
    try:
        docker("info")
    except (OSError, RuntimeError, subprocess.TimeoutExpired):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Container:
    """A container of RabbitMQ."""

    id: str
    port: int

    @property
    def url(self) -> str:
        """The URL of its broker, the same after each start."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def restart(self) -> None:
        """Stop the broker in order, and start it again; do not wait until it answers."""
        docker("stop", "--time", "60", self.id)
        docker("start", self.id)

    def kill(self) -> None:
        """End the broker as a power failure would."""
        docker("kill", self.id)

    def start(self) -> None:
        """Start the broker again; do not wait until it answers."""
        docker("start", self.id)

    def execute(self, *command: str) -> str:
        """Run a command in the container; return what it prints."""
        return docker("exec", self.id, *command)

    def await_broker(self) -> None:
        """Wait until the broker answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no broker answers:\n{docker('logs', '--tail', '20', self.id)}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            server_version(self.url)
        except AMQPError:
            return False
        return True


@contextmanager
def started(*options: str, image: str = "") -> Iterator[Container]:
    """Run a container with these options of `docker run`; remove it afterwards."""
    port = free_port()
    image = image or os.environ.get("MQCTX_TEST_IMAGE") or DEFAULT_IMAGE
    publish = f"--publish=127.0.0.1:{port}:5672"
    identity = docker("run", "--detach", publish, *options, image).splitlines()[-1]
    try:
        yield Container(identity, port)
    finally:
        docker("rm", "--force", "--volumes", identity)


def free_port() -> int:
    """Return a port that nobody is given by chance while the container is stopped."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise RuntimeError("no port is free between 20000 and 30000")
