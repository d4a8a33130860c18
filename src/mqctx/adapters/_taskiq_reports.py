"""Reports of the tasks that taskiq executes, on the broker of taskiq-aio-pika."""

from typing import Any

from taskiq import TaskiqMessage

from mqctx.adapters._reporter import Origin

__all__ = ["origin_of"]


def origin_of(_message: None, arguments: tuple[TaskiqMessage, Any]) -> Origin:
    """Return where the message of a task came from, given that, and the broker.

    Raises:
        AttributeError: it is another broker.
    """
    message, broker = arguments
    client = broker.read_conn.transport.connection
    from mqctx.adapters import _aio_pika_reports  # noqa: PLC0415 - other brokers do without

    exchange, routing_key = _route(broker, message.labels)
    return Origin(
        client=client, outlet=_aio_pika_reports.outlet, exchange=exchange, routing_key=routing_key
    )


def _route(broker: Any, labels: dict[str, Any]) -> tuple[str, str]:
    """Return what the broker publishes with: a task does not know how its message came."""
    queues = broker._task_queues
    exchange = broker._exchange
    if labels.get("delay") is not None and broker._delayed_message_exchange_plugin:
        exchange = broker._delayed_message_exchange
    if len(queues) == 1:
        return exchange.name, queues[0].routing_key or queues[0].name
    return exchange.name, str(labels.get(broker._label_for_routing) or "")
