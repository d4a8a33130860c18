"""Test code that uses mqctx: messages without a broker, and what was published.

pytest finds the plugin by itself. It gives the marker `mqctx` and the fixtures `mqctx_scope`,
`rejections` and `rabbitmq_url`, fails a test that leaves a context active, and puts back what a
test has configured, declared and linked.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mqctx._lazy import names_of

if TYPE_CHECKING:
    from mqctx.testing._aio_pika import aio_pika_message
    from mqctx.testing._celery import celery_request
    from mqctx.testing._kombu import kombu_message
    from mqctx.testing._pika import pika_delivery
    from mqctx.testing._rabbitmq import RabbitMQ, rabbitmq_container
    from mqctx.testing._sent import Sent, sent
    from mqctx.testing._settlement import Settlement, dead_lettered, settled

__all__ = [
    "RabbitMQ",
    "Sent",
    "Settlement",
    "aio_pika_message",
    "celery_request",
    "dead_lettered",
    "kombu_message",
    "pika_delivery",
    "rabbitmq_container",
    "sent",
    "settled",
]

# pytest loads this package in each of its processes: no client is imported before it is asked for.
__getattr__: Callable[[str], Any] = names_of(
    __name__,
    __package__,
    {
        "RabbitMQ": "_rabbitmq",
        "Sent": "_sent",
        "Settlement": "_settlement",
        "aio_pika_message": "_aio_pika",
        "celery_request": "_celery",
        "dead_lettered": "_settlement",
        "kombu_message": "_kombu",
        "pika_delivery": "_pika",
        "rabbitmq_container": "_rabbitmq",
        "sent": "_sent",
        "settled": "_settlement",
    },
)


def __dir__() -> list[str]:
    return __all__
