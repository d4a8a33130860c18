"""A redrive that is killed loses nothing, and the next one tells what may have been sent twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.dead_letters import Place, place

from .broker import Broker

COUNT = 10_000
WINDOW = 100  # as many may be on their way back at a time
KILLS = 20


def redrive(broker: Broker, state: Path, *arguments: str) -> "subprocess.Popen[str]":
    environ = {
        **os.environ,
        "MQCTX_BROKER_URL": broker.url,
        "MQCTX_MANAGEMENT_URL": broker.management,
        "XDG_STATE_HOME": str(state),
    }
    command = [sys.executable, "-m", "mqctx", "redrive", *arguments, "--json"]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)


def lines_of(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def kill_after(process: "subprocess.Popen[str]", made: Place, sent: int) -> None:
    """Kill a redrive once so many messages more have arrived."""
    there = made.count(made.inbox)
    end = time.monotonic() + 60
    while made.count(made.inbox) < there + sent:
        assert time.monotonic() < end
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def ids(made: Place, queue: str) -> list[str]:
    return [properties.message_id for _, properties, _ in made.drain(queue)]


@pytest.mark.full
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_killed_at_random_points_it_loses_none_and_names_those_sent_twice(
    each_broker: Broker, kind: str, tmp_path: Path
) -> None:
    arguments = {"x-queue-type": kind, "x-max-length": 1_000_000, "x-delivery-limit": -1}
    if kind == "classic":
        del arguments["x-delivery-limit"]
    with place(each_broker.url, inbox=arguments, dead=arguments) as made:
        made.kill([f"m{number}".encode() for number in range(COUNT)])
        named: set[str] = set()
        for _ in range(KILLS):
            process = redrive(each_broker, tmp_path, made.dead, "--yes")
            kill_after(process, made, random.randrange(1, COUNT // KILLS - WINDOW))
            settle(made)
            plan = lines_of(redrive(each_broker, tmp_path, made.dead))
            named.update(*(line["still_here"] for line in plan if line["kind"] == "interrupted"))
        left = made.count(made.dead)
        assert left > 0, "it had ended before the last kill"
        result = lines_of(redrive(each_broker, tmp_path, made.dead, "--yes"))[-1]
        assert result["sent"] == left
        arrived = Counter(ids(made, made.inbox))
        twice = {name for name, count in arrived.items() if count > 1}
        assert len(arrived) == COUNT
        assert made.count(made.dead) == 0
        assert twice <= named
        assert sum(arrived.values()) - COUNT <= KILLS * WINDOW


def settle(made: Place) -> None:
    """Wait until the broker has taken back what the killed process held."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.5:
        if (now := made.count(made.dead)) != last:
            last, since = now, time.monotonic()
        time.sleep(0.05)
