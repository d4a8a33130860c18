"""`mqctx trace` under load: what it costs publishers, what it holds, and what it loses."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.on_pika import pika_channel

from .traced import METADATA, Command, Vhost, until

ROOT = Path(__file__).parents[2]
RATE = 5_000
_PROGRAM = (sys.executable, "-m", "tests.integration.trace_load")
BUFFER = 20_000
MOST_MEGABYTES = 500


def load(vhost: Vhost, seconds: float, rate: float = RATE) -> dict[str, int]:
    """Let another process publish and consume; return how many messages."""
    with loading(vhost, seconds, rate) as process:
        output, _ = process.communicate(timeout=seconds + 90)
    assert process.returncode == 0
    counts: dict[str, int] = json.loads(output)
    return counts


def loading(vhost: Vhost, seconds: float, rate: float = RATE) -> "subprocess.Popen[str]":
    """Start another process that publishes and consumes."""
    command = [*_PROGRAM, "load", vhost.url, str(seconds), str(rate)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@contextmanager
def counting(vhost: Vhost) -> Iterator[Callable[[], int]]:
    """Let RabbitMQ keep each event in a queue, too, and give what counts them."""
    with pika_channel(vhost.url) as channel:
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "amq.rabbitmq.trace", "#")
        yield lambda: int(channel.queue_declare(queue, passive=True).method.message_count)


@contextmanager
def dropping(vhost: Vhost) -> Iterator[None]:
    """Let tracing be on, and something receive the events that makes nothing of them."""
    vhost.change(**METADATA, tracing=True)
    with subprocess.Popen([*_PROGRAM, "drop", vhost.url], cwd=ROOT) as process:
        try:
            until(lambda: bool(vhost.bound_queues()))
            yield
        finally:
            process.terminate()
            vhost.change(**METADATA, tracing=False)


def megabytes(process: "subprocess.Popen[str]") -> float:
    """Return how much memory a process has had at most."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def seconds_of(process: "subprocess.Popen[str]") -> float:
    """Return how much CPU time a process has had."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.full
class TestFiveThousandMessagesASecond:
    """For who asks with -s, each test tells its figures."""

    def test_are_all_joined_or_counted_as_dropped_in_bounded_memory(
        self, vhost: Vhost, tmp_path: Path
    ) -> None:
        path = tmp_path / "events.jsonl"
        with path.open("w") as file:
            command = Command(vhost, "--json", "--buffer", str(BUFFER), stdout=file)
            until(lambda: vhost.is_traced)
            counts = load(vhost, 60)
            most, used = megabytes(command.process), seconds_of(command.process)
            code, _, err = command.end(seconds=120)
        assert code == 0, err
        joined, summary = 0, dict[str, Any]()
        with path.open() as written:
            for line in written:
                summary = json.loads(line)
                joined += summary["kind"] == "delivery" and summary["joined"] == "message"
        total = counts["published"] + counts["delivered"]
        print(f"{counts}, {joined} joined, {most:.0f} MB, {used:.1f} s of CPU, {summary}")  # noqa: T201 - figures to see
        assert summary["events"] + summary["dropped"] == total
        assert summary["publishes"] + summary["deliveries"] == summary["events"]
        assert joined <= summary["deliveries"] <= joined + summary["dropped"]
        assert most < MOST_MEGABYTES

    def test_are_counted_in_a_vhost_that_never_rests(self, vhost: Vhost, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        with counting(vhost) as counted, loading(vhost, 75) as process, path.open("w") as file:
            time.sleep(8)  # until the statistics say that it is busy
            command = Command(vhost, "--json", "--seconds", "25", stdout=file)
            code, _, err = command.wait(seconds=120)
            assert code == 0, err
            assert process.poll() is None, "the load ended before the trace"
            events = counted()
            process.terminate()
        summary = json.loads(path.read_text().splitlines()[-1])
        print(f"{events} events, {summary}")  # noqa: T201 - figures to see
        assert summary["dropped"] is not None
        assert summary["events"] + summary["dropped"] == events

    def test_cost_publishers_no_more_than_tracing_does_by_itself(
        self, vhost: Vhost, tmp_path: Path
    ) -> None:
        rates: dict[str, list[float]] = {"off": [], "dropping": [], "mqctx trace": []}
        for _ in range(3):
            rates["off"].append(load(vhost, 5)["published"] / 5)
            with dropping(vhost):
                rates["dropping"].append(load(vhost, 5)["published"] / 5)
            with (tmp_path / "events.jsonl").open("w") as file:
                command = Command(vhost, "--json", stdout=file)
                # All share this machine's cores, unlike a broker and who looks at it.
                os.setpriority(os.PRIO_PROCESS, command.process.pid, 10)
                until(lambda: vhost.is_traced)
                rates["mqctx trace"].append(load(vhost, 5)["published"] / 5)
                assert command.end(seconds=120)[0] == 0
        best = {name: max(each) for name, each in rates.items()}
        print(f"messages a second: {best}")  # noqa: T201 - figures to see
        assert best["mqctx trace"] > 0.8 * best["dropping"]
