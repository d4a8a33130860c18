"""How a message that a builder made was settled."""

from typing import Any, Literal, TypeAlias

import msgspec

from mqctx.errors import ConfigurationError
from mqctx.testing._sent import Sent

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
    return _noted(message, "settled")


def dead_lettered(message: Any, /) -> list[Sent]:
    """Return the copies that a handler or a block with `dead_letter=` sent of a message.

    They reached no broker, and are confirmed at once; but those of `DeadLetter(connection=...)`
    are sent there, and not recorded.

    Args:
        message: A message of a builder, as `settled` takes it.

    Raises:
        ConfigurationError: it is none of them.
    """
    return _noted(message, "dead_lettered")


def _noted(message: Any, name: str) -> list[Any]:
    carrier = getattr(message, "message", message)  # the one of a Celery request
    for candidate in (carrier, getattr(carrier, "channel", None)):
        found = getattr(candidate, name, None)
        if isinstance(found, list):  # a mock would answer with anything
            return found  # pyright: ignore[reportUnknownVariableType]  # one of what it names
    raise ConfigurationError(
        f"{message!r} was not made here; give a message, or pika's channel, that a builder made"
    )
