"""One broker for all the processes of a test run: to start one takes seconds of every CPU."""

import json
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import IO

from .broker import Broker


@contextmanager
def shared_broker(
    folder: Path, find: Callable[[], AbstractContextManager[Broker]]
) -> Generator[Broker]:
    """Give the broker that the folder has a note of, or find one, and leave a note there.

    The process that found it keeps it until the last one that uses it has left.
    """
    with (
        (folder / "broker.json").open("a+") as note,
        (folder / "broker.users").open("a") as users,
        ExitStack() as keeper,
    ):
        with _locked(note):
            note.seek(0)
            if noted := note.read():
                broker = Broker(**json.loads(noted))
            else:
                broker = keeper.enter_context(find())
                note.write(json.dumps(asdict(broker)))
                note.flush()
                # The last is done first.
                keeper.callback(flock, users, LOCK_EX)
                keeper.callback(_clear, note)
            flock(users, LOCK_SH)
        yield broker


@contextmanager
def _locked(file: IO[str]) -> Generator[None]:
    flock(file, LOCK_EX)
    yield
    flock(file, LOCK_UN)


def _clear(note: IO[str]) -> None:
    with _locked(note):
        note.truncate(0)
