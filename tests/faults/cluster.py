"""Three RabbitMQ nodes in one cluster, like those of docker/compose.cluster.yaml."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from .docker import START_SECONDS, Container, docker, started
from .proxy import Proxy

HOSTS = ("rabbit1", "rabbit2", "rabbit3")
_MEMBERS = ",".join(f"'rabbit@{host}'" for host in HOSTS)
_ENVIRON = (
    "--env=RABBITMQ_ERLANG_COOKIE=mqctx",
    f"--env=RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-rabbit cluster_nodes {{[{_MEMBERS}],disc}}",
)


@dataclass(frozen=True, slots=True)
class Leadership:
    """The node that leads a quorum queue, and all nodes that have a copy of it."""

    leader: str
    members: frozenset[str]


class Cluster:
    """The nodes that run, by their names."""

    def __init__(self, nodes: Mapping[str, Container]) -> None:
        self.nodes = dict(nodes)

    def proxy(self) -> Proxy:
        """Return a proxy before all nodes."""
        return Proxy(*(node.url for node in self.nodes.values()))

    def kill(self, node: str) -> None:
        """End a node as a power failure would."""
        self.nodes.pop(node).kill()

    def leadership(self, queue: str) -> Leadership:
        """Return who leads a queue."""
        options = ("--quiet", "--formatter", "json", "name", "leader", "members")
        [found] = [each for each in self._ask("list_queues", *options) if each["name"] == queue]
        return Leadership(found["leader"], frozenset(found["members"]))

    def await_all(self) -> None:
        """Wait until every node runs and knows the others."""
        deadline = time.monotonic() + START_SECONDS
        while not self._all_run():
            if time.monotonic() > deadline:
                raise TimeoutError("the nodes do not form a cluster")
            time.sleep(0.5)
        for node in self.nodes.values():
            node.await_broker()

    def _all_run(self) -> bool:
        try:
            running = self._ask("cluster_status", "--formatter", "json")["running_nodes"]
        except RuntimeError:
            return False
        return set(running) == self.nodes.keys()

    def _ask(self, *command: str) -> Any:
        node = next(iter(self.nodes.values()))
        return json.loads(node.execute("rabbitmqctl", *command))


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start three nodes on a network of their own; remove all of it afterwards."""
    network = f"mqctx-test-{uuid4().hex}"
    docker("network", "create", network)
    try:
        with ExitStack() as stack:
            nodes = {f"rabbit@{host}": stack.enter_context(_node(host, network)) for host in HOSTS}
            cluster = Cluster(nodes)
            cluster.await_all()
            yield cluster
    finally:
        docker("network", "rm", network)


@contextmanager
def _node(host: str, network: str) -> Iterator[Container]:
    place = (f"--hostname={host}", f"--network={network}", f"--network-alias={host}")
    with started(*place, *_ENVIRON) as container:
        yield container
