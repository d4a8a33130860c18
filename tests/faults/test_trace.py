"""`mqctx trace` while the broker restarts, and in a cluster."""

from collections.abc import Iterator
from typing import Any

import pika
import pytest

from tests.drivers.on_pika import pika_channel
from tests.integration.broker import Broker
from tests.integration.traced import Traced, until, vhost_of

from .cluster import running_cluster
from .docker import Container, free_port, started

SECONDS = 120.0


@pytest.fixture
def own() -> Iterator[tuple[Container, Broker]]:
    """Give a broker of the test's own, with its management API on a port that it keeps."""
    port = free_port()
    with started("--hostname=traced", f"--publish=127.0.0.1:{port}:15672") as container:
        container.await_broker()
        yield container, Broker(container.url, "docker", f"http://127.0.0.1:{port}")


def send(url: str) -> None:
    """Send a message, and take it out again."""
    with pika_channel(url) as channel:
        channel.queue_declare("orders", durable=True, arguments={"x-queue-type": "classic"})
        channel.basic_publish("", "orders", b"1", pika.BasicProperties(message_id="1"))
        until(lambda: channel.basic_get("orders", auto_ack=True)[0] is not None)


@pytest.mark.full
def test_goes_on_after_the_broker_has_restarted(
    engine: None, own: tuple[Container, Broker]
) -> None:
    container, broker = own
    with vhost_of(broker) as vhost:
        before = vhost.state()
        with Traced(vhost) as traced:
            send(vhost.url)
            until(lambda: traced.tracer.status.events == 2)
            container.restart()
            container.await_broker()
            until(lambda: bool(vhost.bound_queues()), SECONDS)
            until(lambda: vhost.is_traced, SECONDS)
            send(vhost.url)
        kinds = [each["kind"] for each in traced.watch.records]
        assert (traced.is_whole, kinds) == (True, ["publish", "delivery"] * 2)
        assert vhost.state() == before
        assert vhost.leftovers() == []


@pytest.mark.full
def test_traces_one_node_of_a_cluster_names_the_others_and_restores(engine: None) -> None:
    with running_cluster() as cluster:
        containers: dict[str, Any] = dict(cluster.nodes)
        told, *others = containers
        address = containers[told].execute("hostname", "-i").split()[0]
        broker = Broker(containers[told].url, "docker", f"http://{address}:15672")
        with vhost_of(broker) as vhost:
            before = vhost.state()
            with Traced(vhost) as traced:
                send(vhost.url)
            assert {node.partition("@")[2] for node in traced.tracer.untraced_nodes} == {
                each.partition("@")[2] or each for each in others
            }
            assert len(traced.watch.records) == 2
            assert vhost.state() == before
            assert vhost.leftovers() == []
