"""Count distinct texts in bounded memory: exactly as long as there is room, then by samples."""

__all__ = ["Distinct", "Room"]


class Distinct:
    """The number of distinct texts. Made by `Room.counter`."""

    __slots__ = ("_hashes", "_level")

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self._level = 0  # of 2 to the power of this many hashes one is kept

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def is_exact(self) -> bool:
        """Whether the number is no estimate."""
        return self._level == 0

    def count(self) -> int:
        """Return the number."""
        return len(self._hashes) << self._level

    def add(self, hashed: int) -> bool:
        """Count a text by its hash; tell whether that took room."""
        # Hashes are as good as random: those whose low bits are 0 are a fair sample of the texts.
        is_new = hashed not in self._hashes and not hashed & ((1 << self._level) - 1)
        if is_new:
            self._hashes.add(hashed)
        return is_new

    def halve(self) -> None:
        """Keep half of the sample."""
        self._thin(self._level + 1)

    def merge(self, other: "Distinct") -> None:
        """Count what another one has counted, too."""
        self._hashes |= other._hashes
        self._thin(max(self._level, other._level))

    def _thin(self, level: int) -> None:
        self._level = level
        mask = (1 << level) - 1
        self._hashes = {each for each in self._hashes if not each & mask}


class Room:
    """Room for so many hashes, which counters share. The largest counter gives way first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._counters: set[Distinct] = set()

    def counter(self) -> Distinct:
        """Return a counter that takes its room here."""
        counter = Distinct()
        self._counters.add(counter)
        return counter

    def add(self, counter: Distinct, hashed: int) -> None:
        """Count a text by its hash."""
        if counter.add(hashed):
            self._grown(1)

    def merge(self, counter: Distinct, other: Distinct) -> None:
        """Let a counter count what another one has counted, too."""
        before = len(counter)
        counter.merge(other)
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
