"""Ten thousand dead letters, looked at by processes: again and again, and killed in between."""

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pika
import pytest

from tests.drivers.on_pika import pika_channel

from .broker import Broker
from .dead_letters import command_in, drained, filled, policy, publish, ready
from .settling import wait_until

COUNT = 10_000
TENANTS = 50
OF_THE_LIMIT = 100
LOOKS = 25
KILLS = 10
MANY = int(os.environ.get("MQCTX_TEST_MANY", "100000"))
"""How many messages the largest queue has."""

pytestmark = pytest.mark.full
Property = Callable[[str, object], None]


def look(broker: Broker, queue: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start `mqctx inspect`."""
    command = [sys.executable, "-m", "mqctx", "inspect", queue, *arguments]
    environ = {**os.environ, "MQCTX_BROKER_URL": broker.url}
    environ["MQCTX_MANAGEMENT_URL"] = broker.management
    # A user's Python has compiled all modules once, not at each look.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def patient(broker: Broker) -> Broker:
    """Return a broker that keeps connections which are silent for minutes."""
    return replace(broker, url=f"{broker.url}?heartbeat=0")


@contextmanager
def dead_letters(broker: Broker, kind: str) -> Iterator[str]:
    """Give a queue with dead letters of many tenants, some of which died of the delivery limit."""
    url = patient(broker).url
    with filled(patient(broker), kind, 0) as queue, pika_channel(url) as channel:
        limited = f"{queue}.in"
        arguments = {
            "x-queue-type": "quorum",
            "x-delivery-limit": 1,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue,
        }
        channel.queue_declare(limited, durable=True, arguments=arguments)
        send(channel, limited, range(OF_THE_LIMIT))
        with pika_channel(broker.url) as rejecting:  # in no transaction
            for _ in range(2 * OF_THE_LIMIT):
                method, _, _ = next(rejecting.consume(limited))
                rejecting.basic_reject(method.delivery_tag, requeue=True)
            wait_until(lambda: ready(broker, queue) == OF_THE_LIMIT)
        send(channel, queue, range(OF_THE_LIMIT, COUNT))
        yield queue
        channel.queue_delete(limited)


def send(channel: Any, queue: str, numbers: range) -> None:
    """Send messages of many tenants, with the reason that a handler gives."""
    channel.tx_select()
    for number in numbers:
        context = {"tenant": f"t{number % TENANTS}", "request_id": f"r-{number // 2}"}
        failure = {"type": "CardExpired", "message": f"card of order {number}", "queue": "in"}
        headers = {"mqctx": json.dumps(context), "mqctx-failure": json.dumps(failure)}
        properties = pika.BasicProperties(message_id=str(number), headers=headers, delivery_mode=2)
        channel.basic_publish("", queue, b"{}", properties)
    channel.tx_commit()


@pytest.mark.parametrize("kind", ["classic", "quorum", "quorum-unlimited"])
def test_many_looks_in_a_row_leave_all_in_place(
    each_broker: Broker, kind: str, record_property: Property
) -> None:
    with dead_letters(each_broker, kind) as queue:
        safe: Any = nullcontext()
        if kind == "quorum":
            refused = look(each_broker, queue)
            _, errors = refused.communicate(timeout=60)
            assert refused.returncode == 3
            assert ready(each_broker, queue) == COUNT
            safe = policy(each_broker, command_in(errors))
        seconds: list[float] = []
        with safe:
            for _ in range(LOOKS):
                began = time.monotonic()
                process = look(each_broker, queue)
                output, errors = process.communicate(timeout=120)
                seconds.append(time.monotonic() - began)
                assert process.returncode == 0, errors
                assert output.startswith(f"10,000 messages in {queue}, looked at 10,000, all left")
                assert ready(each_broker, queue) == COUNT
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        said = f"{sorted(seconds)[LOOKS // 2]:.2f} s, at most {max(seconds):.2f} s, {most} MiB"
        record_property("looks", said)
        print(f"{kind}: {said}")  # noqa: T201 - for -s
        assert most < 200
        ids = drained(each_broker, queue)
        assert sorted(ids, key=int) == [str(number) for number in range(COUNT)]
        if kind == "classic":
            assert [int(each) for each in ids[OF_THE_LIMIT:]] == [*range(OF_THE_LIMIT, COUNT)]


@pytest.mark.parametrize("kind", ["classic", "quorum-unlimited"])
def test_looks_that_are_killed_lose_nothing(each_broker: Broker, kind: str) -> None:
    with filled(patient(each_broker), kind, COUNT) as queue:
        for _ in range(KILLS):
            process = look(each_broker, queue)
            # Until it has taken some, and then until anywhere.
            wait_until(lambda: ready(each_broker, queue) < COUNT)
            time.sleep(random.uniform(0, 1))
            process.kill()
            process.communicate()
            wait_until(lambda: ready(each_broker, queue) == COUNT)
        ids = drained(each_broker, queue)
    assert sorted(ids, key=int) == [str(number) for number in range(COUNT)]


def test_one_that_is_interrupted_puts_all_back_and_exits_with_130(broker: Broker) -> None:
    with filled(broker, "classic", COUNT) as queue:
        process = look(broker, queue)
        wait_until(lambda: ready(broker, queue) < COUNT)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "everything is in place" in errors
        assert "Traceback" not in errors
        assert drained(broker, queue) == [str(number) for number in range(COUNT)]


def test_what_a_single_active_consumer_keeps_to_itself_is_said(broker: Broker) -> None:
    with filled(broker, "classic-single", 20) as queue, pika_channel(broker.url) as channel:
        channel.basic_qos(prefetch_count=5)
        channel.basic_consume(queue, lambda *_: None)
        wait_until(lambda: ready(broker, queue) == 15)
        process = look(broker, queue)
        output, errors = process.communicate(timeout=60)
        assert output.startswith(f"15 messages in {queue}, looked at 0, all left in place")
        assert "15 could not be read: another consumer is the single active one" in errors


def test_the_memory_of_a_look_does_not_grow_with_the_queue(
    broker: Broker, record_property: Property
) -> None:
    broker = patient(broker)
    with filled(broker, "classic", 0) as queue, pika_channel(broker.url) as channel:
        for first in range(0, MANY, COUNT):
            publish(channel, queue, range(first, min(first + COUNT, MANY)))
        began = time.monotonic()
        process = look(broker, queue)
        resident: list[int] = []
        while process.poll() is None:
            resident.append(resident_of(process.pid))
            time.sleep(1)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output.startswith(f"{MANY:,} messages in {queue}, looked at {MANY:,}, all left")
        assert ready(broker, queue) == MANY
        said = f"{time.monotonic() - began:.0f} s, {max(resident)} MiB"
        record_property("look", said)
        print(f"{MANY:,}: {said}; {resident}")  # noqa: T201 - for -s
        assert max(resident) < 200


def resident_of(process: int) -> int:
    """Return the memory that a process has, in MiB; 0 if it has just ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) // 1024 if found else 0
