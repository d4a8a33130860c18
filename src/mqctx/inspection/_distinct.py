"""Count distinct texts in bounded memory: exactly as long as there is room, then by samples."""

from hashlib import blake2b
from typing import Final

__all__ = ["Distinct", "Room", "hash_of"]

_BYTES: Final = 8


def hash_of(text: str) -> int:
    """Return the number that a counter keeps for a text."""
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=_BYTES).digest()
    return int.from_bytes(digest)


class Distinct:
    """The number of distinct texts. Made by `Room.counter`."""

    __slots__ = ("_hashes", "_level")

    def __init__(self, hashes: "set[int] | None" = None, level: int = 0) -> None:
        self._hashes = set[int]() if hashes is None else hashes
        self._level = level  # of 2 to the power of this many hashes one is kept

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def is_exact(self) -> bool:
        """Whether the number is no estimate."""
        return self._level == 0

    def count(self) -> int:
        """Return the number."""
        return len(self._hashes) << self._level

    def add(self, hashed: int) -> None:
        """Count a text by its hash."""
        # Hashes are as good as random: those whose low bits are 0 are a fair sample of the texts.
        if not hashed & ((1 << self._level) - 1):
            self._hashes.add(hashed)

    def halve(self) -> None:
        """Keep half of the sample."""
        self._level += 1
        mask = (1 << self._level) - 1
        self._hashes = {each for each in self._hashes if not each & mask}

    def copy(self) -> "Distinct":
        """Return a counter with the same number."""
        return Distinct(self._hashes.copy(), self._level)


class Room:
    """Room for so many hashes, which counters share. The largest counter gives way first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._counters: set[Distinct] = set()

    def counter(self, like: Distinct | None = None) -> Distinct:
        """Return a counter that takes its room here, and begins like another one."""
        counter = Distinct() if like is None else like.copy()
        self._counters.add(counter)
        self._grown(len(counter))
        return counter

    def add(self, counter: Distinct, hashed: int) -> None:
        """Count a text by its hash."""
        before = len(counter)
        counter.add(hashed)
        self._grown(len(counter) - before)

    def drop(self, counter: Distinct) -> None:
        """Take back the room of a counter that is not needed any more."""
        self._counters.discard(counter)
        self._taken -= len(counter)

    def _grown(self, by: int) -> None:
        self._taken += by
        while self._taken > self._most:
            largest = max(self._counters, key=len)
            self._taken -= len(largest)
            largest.halve()
            self._taken += len(largest)
