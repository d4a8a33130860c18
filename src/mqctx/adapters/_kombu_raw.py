"""The properties of py-amqp's messages as bytes, which it drops."""

from importlib import import_module
from typing import Any, Final

import amqp  # pyright: ignore[reportMissingTypeStubs]  # py-amqp has none
import kombu.compression
from kombu.transport import pyamqp

from mqctx._amqp.tolerant import readable_properties

# Without types, it is of no use to say which.
_amqp: Any = amqp
_serialization: Any = import_module("amqp.serialization")
_compression: Any = kombu.compression
_message: Any = pyamqp.Message
_BEFORE_PROPERTIES: Final = 12
"""The class and the size of the body, in front of the properties (AMQP 0-9-1, 4.2.6.1)."""

ACK: Final = _amqp.spec.Basic.Ack
NACK: Final = _amqp.spec.Basic.Nack


def keep_properties() -> None:
    """Let messages that arrive from now on keep the bytes of their properties and body."""
    content = _serialization.GenericContent
    inbound_header, construct = content.inbound_header, _message.__init__

    def inbound_header_and_keep(self: Any, buf: Any, offset: int = 0) -> Any:
        self.mqctx_properties = raw = bytes(buf[offset + _BEFORE_PROPERTIES :])
        try:
            return inbound_header(self, buf, offset)
        except Exception:  # noqa: BLE001 - of many kinds; py-amqp could read nothing more after it
            self.properties = readable_properties(raw)
            self.properties["application_headers"] = self.properties.pop("headers", {})
            self.ready = not self.body_size  # which it has read before
            return len(buf)

    def construct_and_keep(self: Any, msg: Any, *args: Any, **options: Any) -> None:
        construct(self, msg, *args, **options)
        properties = getattr(msg, "mqctx_properties", None)
        # kombu decompresses the body.
        self.mqctx_received = None if properties is None else (properties, msg.body)

    content.inbound_header = inbound_header_and_keep
    _message.__init__ = construct_and_keep


def as_received(message: Any) -> tuple[bytes, bytes]:
    """Return properties and body; of a message from before they were kept, from its values."""
    kept: tuple[bytes, bytes] | None = getattr(message, "mqctx_received", None)
    if kept is not None:
        return kept
    properties: bytes = _amqp.Message(b"", **message.properties)._serialize_properties()
    compression = message.headers.get("compression")
    body = message.body
    return properties, _compression.compress(body, compression)[0] if compression else body


def message_as_bytes(body: bytes, properties: bytes) -> Any:
    """Return a message whose properties are sent as these bytes."""
    message = _amqp.Message(body)
    message._serialize_properties = lambda: properties
    return message
