"""Each client through each fault: a message is handled in its own context, whatever breaks.

Plain pytest samples one client per fault.
"""

import pytest

from tests.drivers.clients import CLIENTS, Client
from tests.drivers.flow import Flow
from tests.drivers.on_aio_pika import SURVIVES_CANCEL
from tests.drivers.on_pika import pika_channel

from .docker import Container
from .proxy import Proxy
from .running import check, run_flow

STEP = 100
"""How many messages must get through before a fault, and after it."""


def each_client(sample: str) -> pytest.MarkDecorator:
    """Parametrize by client; all but the sample take the mark `full`."""
    marks = {name: () if name == sample else pytest.mark.full for name in CLIENTS}
    return pytest.mark.parametrize(
        "client", [pytest.param(CLIENTS[name], id=name, marks=marks[name]) for name in CLIENTS]
    )


@pytest.mark.parametrize("restarts", [1, pytest.param(2, marks=pytest.mark.full)])
@each_client(sample="pika")
def test_a_broker_that_restarts(
    client: Client, restarts: int, container: Container, queue_name: str
) -> None:
    """Confirmed messages survive in a durable queue, and each is handled in its own context."""
    flow = Flow(container.url, queue_name)
    record = run_flow(flow, [client], container.restart, times=restarts, step=STEP)
    check(record, messages=(restarts + 1) * STEP, interrupted=restarts)


@each_client(sample="aio-pika")
def test_a_connection_that_is_cut(client: Client, proxy: Proxy, queue_name: str) -> None:
    """Messages in flight when RST arrives are sent again, each handled in its own context."""
    flow = Flow(proxy.url, queue_name)
    record = run_flow(flow, [client], proxy.cut, times=5, step=STEP)
    check(record, messages=6 * STEP, interrupted=5)


@each_client(sample="kombu")
def test_a_channel_that_an_error_closes(client: Client, amqp_url: str, queue_name: str) -> None:
    """An error of the application's own costs the channel, and no message its context.

    The publisher uses an exchange that does not exist (404), the consumer acks a delivery that
    was none (406), with other messages in flight.
    """
    flow = Flow(amqp_url, queue_name)

    def spoil() -> None:
        flow.spoil("publisher")
        flow.spoil("consumer")

    record = run_flow(flow, [client], spoil, times=4, step=STEP)
    check(record, messages=5 * STEP, interrupted=4)


@each_client(sample="pika")
def test_a_consumer_that_the_broker_cancels(client: Client, amqp_url: str, queue_name: str) -> None:
    """Consuming goes on when the queue was deleted and declared again, each in its own context."""
    if client is CLIENTS["aio-pika"] and not SURVIVES_CANCEL:
        pytest.skip("this aio-pika does not consume again")
    flow = Flow(amqp_url, queue_name)

    def delete_and_declare() -> None:
        # Messages in the queue go with it: so it is empty, and nothing is under way to it.
        with flow.hold(), pika_channel(amqp_url) as channel:
            assert channel.queue_declare(queue_name, passive=True).method.consumer_count == 1
            channel.queue_delete(queue_name)
            channel.queue_declare(queue_name, durable=True)

    record = run_flow(flow, [client], delete_and_declare, times=4, step=STEP)
    check(record, messages=5 * STEP)
