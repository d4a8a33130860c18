"""The AMQP properties of kombu's messages."""

from typing import Any

from mqctx._propagation.decoder import is_mapping
from mqctx.adapters._handler import attribute_of


def property_of(message: object, name: str) -> object:
    """Return a property of a message; None if it has none."""
    properties: Any = attribute_of(message, "properties")
    return properties.get(name) if is_mapping(properties) else None
