import socket
from collections.abc import Iterator

import pytest

from tests.http_clients.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Server]:
    """Return a second server: the same host, another port."""
    with serving() as server:
        yield server


@pytest.fixture
def nobody() -> Iterator[str]:
    """Return a URL where nobody listens, as long as the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"
