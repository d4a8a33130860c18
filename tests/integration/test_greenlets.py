"""kombu under gevent and eventlet: greenlets that consume at the same time mix no contexts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.clients import CLIENTS
from tests.drivers.handling import context_of
from tests.drivers.on_pika import pika_channel
from tests.integration.greenlets import MESSAGES, SECONDS

ROOT = Path(__file__).parents[2]
RUN = "from runpy import run_module; run_module('tests.integration.greenlets', run_name='__main__')"
PATCH = {
    "gevent": "from gevent.monkey import patch_all; patch_all()",
    "eventlet": "from eventlet import monkey_patch; monkey_patch()",
}


@pytest.fixture
def filled_queue(amqp_url: str, queue_name: str) -> str:
    """A queue with a message for each number, in the context of that number."""
    with pika_channel(amqp_url) as channel:
        channel.queue_declare(queue_name)
    orders = [(context_of(number), str(number).encode()) for number in range(MESSAGES)]
    CLIENTS["pika"].publish(amqp_url, queue_name, *orders)
    return queue_name


def report_of(library: str, url: str, queue: str) -> dict[str, Any]:
    """Run the program in a process that the library patches first of all."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{PATCH[library]}; {RUN}", library, url, queue],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-5000:]
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


@pytest.mark.full
@pytest.mark.parametrize("library", PATCH)
def test_greenlets_that_consume_at_the_same_time_mix_no_contexts(
    library: str, amqp_url: str, filled_queue: str
) -> None:
    report = report_of(library, amqp_url, filled_queue)
    assert report["mixed"] == []
    assert report["handled"] == list(range(MESSAGES))
    assert len(report["by"]) > 1
    assert report["at_once"] > 1
    assert report["outlived"] > 0


@pytest.mark.full
@pytest.mark.parametrize(("library", "result"), [("gevent", "get"), ("eventlet", "wait")])
def test_a_greenlet_that_is_spawned_takes_a_wrapped_function_along(
    library: str, result: str
) -> None:
    code = (
        f"import mqctx, {library}\n"
        "with mqctx.scope(tenant='acme'):\n"
        "    functions = mqctx.wrap(mqctx.current), mqctx.current\n"
        f"    spawned = [{library}.spawn(each) for each in functions]\n"
        f"print(*(dict(each.{result}()) for each in spawned))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[1:])},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert run.stdout == "{'tenant': 'acme'} {}\n"
