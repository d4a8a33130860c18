"""A note of what is under way, from which the next run tells what a killed one may have sent twice.

It is a file, since the broker has no place that a kill leaves behind: `XDG_STATE_HOME/mqctx`, or
`~/.local/state/mqctx`.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import msgspec

from mqctx.inspection._broker import Broker

__all__ = ["Interrupted", "Note"]


class Interrupted(msgspec.Struct, frozen=True):
    """A run that ended before it could say how."""

    run: str
    at: str
    messages: tuple[str, ...] = ()
    """The digests of those that it may have sent, and not taken off the queue."""


_NOTHING = Interrupted("", "")


class Note:
    """The note of one run from one queue. It is there while the run is."""

    def __init__(self, broker: Broker, queue: str, run: str, at: str) -> None:
        self._folder = _folder()
        self._prefix = _prefix(broker, queue)
        self._run = Interrupted(run, at)
        self._path: Path | None = None

    def earlier(self) -> list[Interrupted]:
        """Return the runs from this queue that were cut off in the middle of something."""
        return [each for _, each in self._left_behind() if each.messages]

    def open(self) -> str | None:
        """Begin, and return why that is not possible, None if it is."""
        path = self._folder / f"{self._prefix}{self._run.run}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        except OSError as error:
            return f"{self._folder}: {error.strerror}"
        self._path = path
        return None

    def write(self, digests: Sequence[str]) -> None:
        """Note that these are being sent, and no others any more."""
        if self._path is not None:
            noted = msgspec.structs.replace(self._run, messages=tuple(digests))
            # Emptied, not removed: `close` takes it away, with those of earlier runs.
            self._path.write_bytes(msgspec.json.encode(noted) if digests else b"")

    def close(self) -> None:
        """Forget this run and those before it: it has reported them."""
        if self._path is not None:
            for path, _ in self._left_behind():
                path.unlink(missing_ok=True)

    def _left_behind(self) -> Iterator[tuple[Path, Interrupted]]:
        for path in sorted(self._folder.glob(f"{self._prefix}*.json")):
            # Another run may have removed it meanwhile, or be about to write it.
            with suppress(OSError, msgspec.MsgspecError):
                noted = path.read_bytes()
                yield path, msgspec.json.decode(noted, type=Interrupted) if noted else _NOTHING


def _folder() -> Path:
    given = os.environ.get("XDG_STATE_HOME")
    return (Path(given) if given else Path("~/.local/state").expanduser()) / "mqctx"


def _prefix(broker: Broker, queue: str) -> str:
    place = msgspec.json.encode([broker.address, broker.vhost, queue])
    return f"redrive-{blake2b(place, digest_size=8).hexdigest()}-"
