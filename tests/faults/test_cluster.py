"""A quorum queue whose leader is lost, with three clients at work."""

import pytest

from tests.drivers.clients import CLIENTS
from tests.drivers.flow import Flow

from .cluster import running_cluster
from .running import check, run_flow

MESSAGES = 20_000
QUEUE = "orders"


@pytest.mark.full
def test_the_leader_of_a_quorum_queue_is_killed(engine: None) -> None:
    """No confirmed message is lost, and each is handled in its own context.

    A proxy stands for the load balancer: it sends the clients to all three nodes, and those that
    were on the lost one to another.
    """
    with running_cluster() as cluster, cluster.proxy().running() as proxy:
        flow = Flow(proxy.url, QUEUE, {"x-queue-type": "quorum"})
        killed: list[str] = []

        def kill_leader() -> None:
            before = cluster.leadership(QUEUE)
            assert len(before.members) == 3
            cluster.kill(before.leader)
            killed.append(before.leader)

        record = run_flow(flow, list(CLIENTS.values()), kill_leader, times=1, step=MESSAGES // 2)
        assert cluster.leadership(QUEUE).leader not in killed
    check(record, messages=MESSAGES)
    # The proxy had sent a third of the clients to the lost node, some publishers, some consumers.
    assert record.interrupted.total() > 0
