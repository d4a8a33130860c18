"""How a message that a builder made was settled."""

from typing import Any, Literal, TypeAlias

import msgspec

from mqctx.errors import ConfigurationError

Method: TypeAlias = Literal["ack", "nack", "reject"]


class Settlement(msgspec.Struct, frozen=True):
    """The method that settled a message, and its arguments as the broker would get them."""

    method: Method
    requeue: bool = False
    multiple: bool = False
    delivery_tag: int = 1


def settled(message: Any, /) -> list[Settlement]:
    """Return how a message of a builder was settled: the empty list as long as it was not.

    Args:
        message: The result of `aio_pika_message`, `kombu_message` or `celery_request`, or the
            channel that `pika_delivery` returned.

    Raises:
        ConfigurationError: it is none of them.
    """
    carrier = getattr(message, "message", message)  # the one of a Celery request
    for candidate in (carrier, getattr(carrier, "channel", None)):
        found = getattr(candidate, "settled", None)
        if isinstance(found, list):  # a mock would answer with anything
            return found  # pyright: ignore[reportUnknownVariableType]  # one of Settlements
    raise ConfigurationError(
        f"{message!r} was not made here; give a message, or pika's channel, that a builder made"
    )
