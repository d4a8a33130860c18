"""Find the RabbitMQ broker that the integration tests use.

The first way that works is taken:

1. ``url``: the broker that ``MQCTX_TEST_AMQP_URL`` names,
2. ``testcontainers``: a container of ``MQCTX_TEST_IMAGE`` (``rabbitmq:4-management`` unless set),
3. ``server``: the ``rabbitmq-server`` that is installed on this machine.

``MQCTX_TEST_BROKER`` demands one of them by its name.

The second broker, of RabbitMQ 4.3, is found in the first two ways, by names that end in ``_43``.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from urllib.parse import urlsplit

import pika
from pika.exceptions import AMQPConnectionError

from mqctx.testing import rabbitmq_container

DEFAULT_IMAGE = "rabbitmq:4-management"
DEFAULT_IMAGE_43 = "rabbitmq:4.3-management"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0

WAYS_OUT = """\
The integration tests need a RabbitMQ broker. Any one of these gives them one:
  1. Set MQCTX_TEST_AMQP_URL to the URL of a running broker,
     such as amqp://guest:guest@127.0.0.1:5672/
  2. Start Docker: testcontainers runs rabbitmq:4-management, or the image that
     MQCTX_TEST_IMAGE names. docker/prepare.sh makes an image, and prints its
     name, where no image registry can be reached.
  3. Install rabbitmq-server on this machine: the tests start one of their own."""


WAYS_OUT_43 = """\
These tests need a RabbitMQ of 4.3 or newer too. Any one of these gives them one:
  1. Set MQCTX_TEST_AMQP_URL_43 to the URL of a running broker,
     such as amqp://guest:guest@127.0.0.1:5683/
  2. Start Docker: testcontainers runs rabbitmq:4.3-management, or the image that
     MQCTX_TEST_IMAGE_43 names. docker/prepare.sh 4.3 makes an image, and prints
     its name, where no image registry can be reached."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker: its URL, the way it was found, and the URL of its management API."""

    url: str
    way: str
    management: str


class NoBrokerError(Exception):
    """No way to a broker works; the message says why and what to do about it."""


class _WayFailedError(Exception):
    """One way to a broker does not work; the message says why."""


@contextmanager
def find_broker(environ: Mapping[str, str] = os.environ) -> Generator[Broker]:
    """Give the broker that the environment leads to, and stop it afterwards if it was started.

    Raises:
        NoBrokerError: No way works, or the one that MQCTX_TEST_BROKER demands does not.
    """
    failures: list[str] = []
    with ExitStack() as stack:
        for way in _ways_to_try(environ):
            try:
                url, management = stack.enter_context(_WAYS[way](environ))
            except _WayFailedError as error:
                failures.append(f"  {way}: {error}")
            else:
                yield Broker(url, way, management)
                return
    raise NoBrokerError("\n".join([WAYS_OUT, "What was tried:", *failures]))


@contextmanager
def find_broker_43(environ: Mapping[str, str] = os.environ) -> Generator[Broker]:
    """Give a second broker, of RabbitMQ 4.3 or newer.

    Raises:
        NoBrokerError: No way to one works, or it is older.
    """
    others = {name: value for name, value in environ.items() if not name.startswith("MQCTX_TEST_")}
    own = {name[:-3]: value for name, value in environ.items() if name.endswith("_43")}
    way = "url" if own.get("MQCTX_TEST_AMQP_URL") else "testcontainers"
    defaults = {"MQCTX_TEST_BROKER": way, "MQCTX_TEST_IMAGE": DEFAULT_IMAGE_43}
    with ExitStack() as stack:
        try:
            found = stack.enter_context(find_broker(others | defaults | own))
        except NoBrokerError as error:
            raise NoBrokerError(str(error).replace(WAYS_OUT, WAYS_OUT_43)) from None
        version = server_version(found.url)
        if [int(part) for part in version.split(".")[:2]] < [4, 3]:
            raise NoBrokerError(f"{WAYS_OUT_43}\nWhat was found is RabbitMQ {version}.")
        yield found


def server_version(url: str) -> str:
    """Return the version that the broker at the URL tells in its greeting."""
    versions: list[str] = []
    failures: list[BaseException] = []

    def opened(connection: Any) -> None:
        versions.append(connection.server_properties["version"])
        connection.close()

    def closed(connection: Any, reason: BaseException) -> None:
        failures.append(reason)
        connection.ioloop.stop()

    connection: Any = pika.SelectConnection(
        pika.URLParameters(url),
        on_open_callback=opened,
        on_open_error_callback=closed,
        on_close_callback=closed,
    )
    connection.ioloop.start()
    connection.ioloop.close()
    if not versions:
        raise failures[0]
    return versions[0]


def installed_programs(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the paths of this machine's rabbitmq-server and epmd, or None if one is missing."""
    path = environ.get("PATH", "")
    # Debian has a wrapper on the PATH that insists on its own user and directories;
    # the script itself is elsewhere.
    server = shutil.which("rabbitmq-server", path=f"/usr/lib/rabbitmq/bin:{path}:/usr/sbin")
    epmd = shutil.which("epmd", path=path)
    return (server, epmd) if server and epmd else None


def _ways_to_try(environ: Mapping[str, str]) -> list[str]:
    demanded = environ.get("MQCTX_TEST_BROKER")
    if not demanded:
        return list(_WAYS)
    if demanded not in _WAYS:
        raise NoBrokerError(f"MQCTX_TEST_BROKER is {demanded!r}, not one of {', '.join(_WAYS)}")
    return [demanded]


@contextmanager
def _named_broker(environ: Mapping[str, str]) -> Generator[tuple[str, str]]:
    url = environ.get("MQCTX_TEST_AMQP_URL")
    if not url:
        raise _WayFailedError("MQCTX_TEST_AMQP_URL is not set")
    parts = urlsplit(url)
    # The ports of a RabbitMQ that has others than usual are mostly moved alike.
    derived = f"http://{parts.hostname}:{(parts.port or 5672) + 10_000}"
    yield url, environ.get("MQCTX_TEST_MANAGEMENT_URL") or derived


@contextmanager
def _container_broker(environ: Mapping[str, str]) -> Generator[tuple[str, str]]:
    with ExitStack() as stack:
        try:
            started = stack.enter_context(rabbitmq_container(environ))
        except Exception as error:
            notes = getattr(error, "__notes__", ())
            failure = "\n".join([f"{type(error).__name__}: {error}", *notes])
        else:
            yield started.url, started.management_url
            return
    raise _WayFailedError(failure)


@contextmanager
def _installed_broker(environ: Mapping[str, str]) -> Generator[tuple[str, str]]:
    programs = installed_programs(environ)
    if programs is None:
        raise _WayFailedError("rabbitmq-server and Erlang's epmd are not both installed")
    server, epmd = programs
    port, management_port, dist_port, epmd_port = _free_ports(4)
    with TemporaryDirectory(prefix="mqctx-broker-") as name:
        directory = Path(name)
        server_environ = _server_environ(environ, directory, port, dist_port, epmd_port)
        _enable_management(directory, management_port)
        log_path = directory / "output.log"
        with (
            log_path.open("wb") as log,
            _running([epmd], server_environ, log) as epmd_process,
        ):
            # A node that finds no epmd starts one, which nobody would stop.
            _wait_until(lambda: _listens(epmd_port), epmd_process, log_path)
            with _running([server], server_environ, log) as process:
                url = _guest_url("127.0.0.1", port)
                _wait_until(lambda: _accepts(url), process, log_path)
                yield url, f"http://127.0.0.1:{management_port}"


def _enable_management(directory: Path, port: int) -> None:
    (directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
    settings = f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n"
    (directory / "rabbitmq.conf").write_text(settings)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _server_environ(
    environ: Mapping[str, str], directory: Path, port: int, dist_port: int, epmd_port: int
) -> dict[str, str]:
    """Keep the server away from every setting, directory and node of an installed one."""
    kept = {name: value for name, value in environ.items() if not name.startswith("RABBITMQ_")}
    return kept | {
        "HOME": str(directory),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(directory / "conf.d"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_NODENAME": "mqctx-test@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


@contextmanager
def _running(
    command: list[str], environ: Mapping[str, str], log: IO[bytes]
) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log_path: Path
) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            fault = "does not answer" if process.returncode is None else "ended"
            output = _last_lines(log_path.read_text(errors="replace"))
            raise _WayFailedError(f"{process.args!r} {fault}; its last output:\n{output}")
        time.sleep(0.1)


def _last_lines(output: str) -> str:
    return "\n".join(output.splitlines()[-15:])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _accepts(url: str) -> bool:
    try:
        pika.BlockingConnection(pika.URLParameters(url)).close()
    except AMQPConnectionError:
        return False
    return True


def _guest_url(host: str, port: int) -> str:
    return f"amqp://guest:guest@{host}:{port}/"


_WAYS: dict[str, Callable[[Mapping[str, str]], AbstractContextManager[tuple[str, str]]]] = {
    "url": _named_broker,
    "testcontainers": _container_broker,
    "server": _installed_broker,
}
