"""Reports of the actors that dramatiq runs, on its broker for RabbitMQ."""

from typing import Any

from mqctx.adapters._reporter import Origin

__all__ = ["origin_of"]


def origin_of(_message: None, arguments: tuple[Any, Any]) -> Origin:
    """Return where the message of an actor came from, given that, and the broker.

    Raises:
        AttributeError: it is another broker.
    """
    message, broker = arguments
    parameters = broker.parameters
    from mqctx.adapters import _pika_reports  # noqa: PLC0415 - other brokers do without

    return Origin(
        client=parameters[0] if isinstance(parameters, list) else parameters,
        outlet=_pika_reports.outlet,
        message_id=message.message_id,
        exchange="",
        routing_key=message.queue_name,
        redelivered=message.redelivered,
    )
