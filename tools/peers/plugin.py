"""A pytest plugin for another project's tests: puts mqctx to work, and notes each outcome."""

import importlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

import mqctx.adapters

_OUTCOMES = Path(os.environ["PEERS_OUTCOMES"])  # before a test clears the environment


def pytest_configure() -> None:
    """Do for the tests what an application does at its start."""
    for name in os.environ["PEERS_SETUP"].split():
        _SETUPS.get(name, _instrument)(name)


def pytest_runtest_logstart(nodeid: str) -> None:
    """Note that a test begins: it may never end."""
    _note(nodeid, "unfinished")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what became of set-up, call and teardown."""
    _note(report.nodeid, report.outcome)


def _note(test: str, outcome: str) -> None:
    # At once, for a run may be stopped.
    with _OUTCOMES.open("a") as outcomes:
        outcomes.write(json.dumps([test, outcome]) + "\n")


def pytest_fixture_setup(fixturedef: Any, request: Any) -> Any:
    """Give aio-pika's tests the broker that is there, not a container of an image of their own."""
    url = urlsplit(os.environ.get("MQCTX_BROKER_URL", ""))
    if fixturedef.argname != "rabbitmq_container" or not url.hostname:
        return None
    ports = {"5672/tcp": url.port, "5671/tcp": url.port}
    broker = SimpleNamespace(host=url.hostname, ports=ports)
    fixturedef.cached_result = (broker, fixturedef.cache_key(request), None)
    return broker


def _instrument(client: str) -> None:
    importlib.import_module(f"{mqctx.adapters.__name__}.{client}").instrument()


def _starlette(_: str) -> None:
    """Wrap each application that a test calls."""
    from starlette import testclient  # noqa: PLC0415 - none but its own tests need it

    from mqctx.middleware.asgi import ContextMiddleware  # noqa: PLC0415 - likewise

    kind: Any = testclient._TestClientTransport  # where each application comes by
    original = kind.__init__

    def init(self: Any, app: Any, *args: Any, **options: Any) -> None:
        original(self, ContextMiddleware(app), *args, **options)

    kind.__init__ = init


def _taskiq(_: str) -> None:
    """Add the middleware to each broker, as the first one."""
    from taskiq import AsyncBroker  # noqa: PLC0415 - none but its own tests need it

    from mqctx.adapters.taskiq import ContextMiddleware  # noqa: PLC0415 - likewise

    original = AsyncBroker.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        self.add_middlewares(ContextMiddleware())

    setattr(AsyncBroker, "__init__", init)  # noqa: B010 - to a type checker, it is a method


_SETUPS = {"starlette": _starlette, "taskiq": _taskiq}
