"""How much may be under way at once: copies that are sent and not confirmed."""

from typing import Final

__all__ = ["MOST_BYTES", "WINDOW", "Window"]

WINDOW: Final = 100
"""The most messages that a killed run may have sent and not taken off their queue."""
MOST_BYTES: Final = 8_388_608
"""The bytes of bodies that one who settles messages should hold at once."""


class Window:
    """Count what is under way.

    Args:
        messages: The most messages; of bytes, 8 MiB and one message are the most.
    """

    def __init__(self, messages: int = WINDOW) -> None:
        self._most = messages
        self.clear()

    def clear(self) -> None:
        """Begin anew: nothing is under way."""
        self._messages = self._bytes = 0

    def add(self, body: bytes) -> None:
        """Count a message."""
        self._messages += 1
        self._bytes += len(body)

    @property
    def is_full(self) -> bool:
        """Whether no more may follow."""
        return self._messages >= self._most or self._bytes >= MOST_BYTES
