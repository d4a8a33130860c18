"""One broker for all the processes of a test run: to start one takes seconds of every CPU."""

import json
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import IO

from .broker import Broker

kept = ExitStack()
"""Keeps the brokers that this process found until the last one that uses them has left.

It is closed where this process uses none any more: else two that keep one each, and use the
other's, would wait for each other.
"""


@contextmanager
def shared_broker(
    folder: Path, find: Callable[[], AbstractContextManager[Broker]], keeper: ExitStack = kept
) -> Generator[Broker]:
    """Give the broker that the folder has a note of, or find one, and leave a note there."""
    with (folder / "broker.json").open("a+") as note, _users(folder) as users:
        with _locked(note):
            note.seek(0)
            if noted := note.read():
                broker = Broker(**json.loads(noted))
            else:
                broker = keeper.enter_context(find())
                note.write(json.dumps(asdict(broker)))
                note.flush()
                # The last is done first.
                keeper.callback(_wait_for_users, folder)
                keeper.callback(_clear, folder)
            flock(users, LOCK_SH)
        yield broker


def _users(folder: Path) -> IO[str]:
    return (folder / "broker.users").open("a")


@contextmanager
def _locked(file: IO[str]) -> Generator[None]:
    flock(file, LOCK_EX)
    yield
    flock(file, LOCK_UN)


def _clear(folder: Path) -> None:
    with (folder / "broker.json").open("a") as note, _locked(note):
        note.truncate(0)


def _wait_for_users(folder: Path) -> None:
    with _users(folder) as users:
        flock(users, LOCK_EX)
