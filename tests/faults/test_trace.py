"""`mqctx trace` while the broker restarts, and in a cluster."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pika
import pytest

from tests.drivers.on_pika import pika_channel
from tests.integration.broker import DEFAULT_IMAGE_43, Broker
from tests.integration.traced import Command, Vhost, lines, traced, until, vhost_of

from .cluster import running_cluster
from .docker import Container, free_port, started

SECONDS = 120.0
# Each 2 minutes, what statistics have not gathered yet, as they do each 5 s, of queues and channels
# that are gone is forgotten. Now it is at once.
FORGETTING = (
    "application:set_env(rabbit, core_metrics_gc_interval, 100), "
    "exit(whereis(rabbit_core_metrics_gc), kill)."
)


@pytest.fixture(params=["", os.environ.get("MQCTX_TEST_IMAGE_43") or DEFAULT_IMAGE_43])
def own(request: pytest.FixtureRequest) -> Iterator[tuple[Container, Broker]]:
    """Give a broker of the test's own, with its management API on a port that it keeps."""
    port = free_port()
    options = ("--hostname=traced", f"--publish=127.0.0.1:{port}:15672")
    with started(*options, image=request.param) as container:
        container.await_broker()
        yield container, Broker(container.url, "docker", f"http://127.0.0.1:{port}")


def send(url: str) -> None:
    """Send a message, and take it out again."""
    with pika_channel(url) as channel:
        channel.queue_declare("orders", durable=True, arguments={"x-queue-type": "classic"})
        channel.basic_publish("", "orders", b"1", pika.BasicProperties(message_id="1"))
        until(lambda: channel.basic_get("orders", auto_ack=True)[0] is not None)


def is_back(vhost: Vhost) -> bool:
    return bool(vhost.bound_queues()) and vhost.is_traced


@pytest.mark.full
def test_goes_on_after_the_broker_has_restarted(
    engine: None, own: tuple[Container, Broker]
) -> None:
    container, broker = own
    with vhost_of(broker) as vhost:
        before = vhost.state()
        with traced(vhost) as trace:
            send(vhost.url)
            until(lambda: len(trace.records()) == 2, SECONDS)
            container.restart()
            container.await_broker()
            until(lambda: is_back(vhost), SECONDS)
            time.sleep(1)  # a management API that has just started may fail the trace once more
            until(lambda: is_back(vhost), SECONDS)
            send(vhost.url)
            kinds = [each["kind"] for each in trace.end()]
        assert kinds == ["publish", "delivery"] * 2
        assert vhost.state() == before
        assert vhost.leftovers() == []


@pytest.mark.full
def test_counts_what_was_dropped_though_rabbitmq_forgets_what_is_gone(
    engine: None, own: tuple[Container, Broker], tmp_path: Path
) -> None:
    container, broker = own
    container.execute("rabbitmqctl", "eval", FORGETTING)
    path = tmp_path / "events.jsonl"
    with vhost_of(broker) as vhost, pika_channel(vhost.url) as channel, path.open("w") as file:
        command = Command(vhost, "--json", "--buffer", "10", stdout=file)
        until(lambda: vhost.is_traced)
        for number in range(20_000):
            channel.basic_publish("amq.fanout", "", b"%d" % number)
        channel.exchange_declare("amq.fanout", passive=True)  # answered once all are published
        code, _, err = command.end(seconds=SECONDS)
    assert code == 0, err
    summary = lines(path.read_text())[-1]
    assert summary["dropped"] > 0
    assert summary["events"] + summary["dropped"] == 20_000


@pytest.fixture(scope="module")
def nodes(engine: None) -> Iterator[dict[str, Broker]]:
    """Give the nodes of a cluster by their names."""
    with running_cluster() as cluster:
        addresses = {
            name: node.execute("hostname", "-i").split()[0] for name, node in cluster.nodes.items()
        }
        yield {
            name: Broker(node.url, "docker", f"http://{addresses[name]}:15672")
            for name, node in cluster.nodes.items()
        }


@pytest.mark.full
class TestCluster:
    @pytest.fixture
    def vhosts(self, nodes: dict[str, Broker]) -> Iterator[list[Vhost]]:
        """Give one vhost as each node shows it."""
        first, *others = nodes.values()
        with vhost_of(first) as vhost, ExitStack() as stack:
            seen = [Vhost(each, vhost.name) for each in others]
            for each in seen:
                stack.callback(each.api.close)
            until(lambda: all(each.state() == vhost.state() for each in seen))
            yield [vhost, *seen]

    def test_one_node_is_traced_the_others_are_named_and_it_is_restored(
        self, nodes: dict[str, Broker], vhosts: list[Vhost]
    ) -> None:
        before = [each.state() for each in vhosts]
        with traced(vhosts[0]) as trace:
            send(vhosts[0].url)
            assert [each.is_traced for each in vhosts] == [True, False, False]
            records = trace.end()
            (line,) = [each for each in trace.warnings().splitlines() if "not traced" in each]
        _, *others = nodes
        assert all(node in line for node in others)
        assert len(records) == 2
        assert [each.state() for each in vhosts] == before
        assert vhosts[0].leftovers() == []

    def test_two_nodes_at_once_are_restored_each_by_its_last_trace(
        self, vhosts: list[Vhost]
    ) -> None:
        before = [each.state() for each in vhosts]
        with (
            traced(vhosts[0]) as first,
            traced(vhosts[1]) as second,
            traced(vhosts[1]) as third,
        ):
            first.end()
            assert [each.is_traced for each in vhosts] == [False, True, False]
            third.end()
            assert [each.is_traced for each in vhosts] == [False, True, False]
            assert "not traced: " in second.warnings()
        assert [each.state() for each in vhosts] == before
        assert vhosts[0].leftovers() == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_it_is_restored_after_a_signal_or_by_off(
        self, vhosts: list[Vhost], number: int
    ) -> None:
        before = [each.state() for each in vhosts]
        command = Command(vhosts[1], "--json")
        until(lambda: vhosts[1].is_traced)
        command.end(number)
        if number == signal.SIGKILL:
            until(lambda: vhosts[1].leftovers() == ["mqctx.trace"])
            assert Command(vhosts[1], "--off").wait()[0] == 0
        assert [each.state() for each in vhosts] == before
        assert vhosts[0].leftovers() == []
