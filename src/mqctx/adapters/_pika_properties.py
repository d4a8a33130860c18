"""Properties of pika's messages that know more than pika's own."""

from typing import Any

from pika import BasicProperties, spec

from mqctx._amqp.tolerant import readable_properties


class PropertiesWithContext(BasicProperties):
    """Properties that are injected already: a hook further down lets them pass."""


class PropertiesAsBytes(PropertiesWithContext):
    """Properties that are sent as these bytes."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # pika has no annotation here
        self._raw = raw

    def encode(self) -> list[bytes]:
        """Return the bytes in place of what the attributes say."""
        return [self._raw]


class PropertiesAsReceived(BasicProperties):
    """Properties that know the bytes that they were read from."""

    # A slot, and no attribute: properties with the same values stay equal, and look the same.
    __slots__ = ("mqctx_raw",)

    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        """Keep the bytes, and decode them; what pika cannot read does not end the connection."""
        self.mqctx_raw = bytes(encoded[offset:])
        try:
            return super().decode(encoded, offset)  # type: ignore[no-untyped-call]  # pika has none
        except Exception:  # noqa: BLE001 - of many kinds: ValueError, OSError, RecursionError
            for name, value in readable_properties(self.mqctx_raw).items():
                setattr(self, name, value)
            return self


def keep_properties() -> None:
    """Let messages that arrive from now on keep the bytes of their properties."""
    # pika looks up there which class a header frame is read into.
    spec.props[BasicProperties.INDEX] = PropertiesAsReceived


def raw_properties(properties: Any) -> bytes:
    """Return the bytes of properties; of some from before they were kept, their values'."""
    raw: bytes | None = getattr(properties, "mqctx_raw", None)
    return b"".join(properties.encode()) if raw is None else raw
