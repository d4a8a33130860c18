"""A RabbitMQ in a container of its own."""

import gc
import os
import socket
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Self

with warnings.catch_warnings():
    # The module uses what testcontainers itself calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from testcontainers.community.rabbitmq import RabbitMqContainer
    from testcontainers.core.config import testcontainers_config

DEFAULT_IMAGE: Final = "rabbitmq:4-management"
_PORT: Final = 5672
_MANAGEMENT_PORT: Final = 15672
_LINES: Final = 15


class RabbitMQ(NamedTuple):
    """The addresses of a RabbitMQ."""

    url: str
    """That of AMQP, with the user `guest`."""
    management_url: str
    """That of the management API and page, if the image has them."""


class _Container(RabbitMqContainer):
    def start(self) -> Self:
        try:
            return super().start()
        except TimeoutError as error:
            output = b"".join(self.get_logs()).decode(errors="replace")
            error.add_note("\n".join(["Its last output:", *output.splitlines()[-_LINES:]]))
            raise

    def get_container_host_ip(self) -> str:
        # testcontainers guesses the bridge's address on a machine that looks like a container,
        # and "localhost" may be ::1, where Docker may publish another port.
        here = _listens(int(self.get_exposed_port(_PORT)))
        return "127.0.0.1" if here else super().get_container_host_ip()


@contextmanager
def rabbitmq_container(environ: Mapping[str, str] = os.environ) -> Generator[RabbitMQ]:
    """Return a `with` block in which a new RabbitMQ runs: it gives the addresses.

    testcontainers starts it, and removes it at the end.

    Args:
        environ: `MQCTX_TEST_IMAGE` names the image in it, `rabbitmq:4-management` unless it is set;
            docker reads variables of its own there.

    Raises:
        ModuleNotFoundError: testcontainers is not installed.
        Exception: of docker or testcontainers: no engine answers, or there is no such image.
    """
    container = _made(environ)
    try:
        container.start()
        host = container.get_container_host_ip()
        port, management = map(container.get_exposed_port, (_PORT, _MANAGEMENT_PORT))
        yield RabbitMQ(f"amqp://guest:guest@{host}:{port}/", f"http://{host}:{management}")
    finally:
        # Also one that never answered.
        container.stop()


def _made(environ: Mapping[str, str]) -> _Container:
    with warnings.catch_warnings():
        # If no engine answers, docker leaves its socket open. It is collected here, so that it
        # does not break a later test in which warnings are errors.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            container = _Container(
                environ.get("MQCTX_TEST_IMAGE") or DEFAULT_IMAGE,
                # Given because they default to this process's RABBITMQ_* variables.
                port=_PORT,
                username="guest",
                password="guest",  # noqa: S106 - RabbitMQ's own, which it takes from nobody outside
                vhost="/",
                docker_client_kw={"environment": environ},
            )
            container.with_exposed_ports(_MANAGEMENT_PORT)
            _do_without_missing_ryuk(container.get_docker_client().client.images)
            return container
        except Exception as error:  # noqa: BLE001 - any of docker's
            # Its traceback, and those of its causes, have the socket.
            error.__context__ = error.__cause__ = None
            failure = error.with_traceback(None)
        gc.collect()
    raise failure


def _do_without_missing_ryuk(images: Any) -> None:
    """Disable Ryuk where its image is not here and cannot be pulled.

    Ryuk removes what a killed process leaves behind. A container of a process that ends in
    order is removed without it.
    """
    ryuk_image = testcontainers_config.ryuk_image
    try:
        if not testcontainers_config.ryuk_disabled and not images.list(ryuk_image):
            images.pull(ryuk_image)
    except Exception:  # noqa: BLE001 - of docker, requests, the engine
        testcontainers_config.ryuk_disabled = True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
