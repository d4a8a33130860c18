"""The task of the rows that send and run one, which shows that its context arrives."""

import asyncio
from collections.abc import Callable
from typing import Any

from benchmarks import ways


class Task:
    """A task that notes, at first, which values it sees."""

    def __init__(self, way: str) -> None:
        self._way = way
        self._seen: list[dict[str, Any]] = []
        self._notes = True

    def note(self) -> None:
        """Note what it sees."""
        if self._notes:
            self._seen.append(self.read())

    def check(self) -> None:
        """See that the task has run, with the values of the first context, and note no more."""
        expected = next(ways.contexts(self._way)).run(self.read)
        assert self._way == ways.RAW or self._seen == [expected], f"{self._way}: {self._seen}"
        self._notes = False

    def read(self) -> dict[str, Any]:
        """Return the values that are active."""
        return ways.read(self._way)


def sending(way: str, task: Task, send: Callable[[], Any]) -> Callable[[], object]:
    """Send each time in another context."""
    contexts = ways.contexts(way)
    is_checked = False

    async def call() -> None:
        nonlocal is_checked
        await asyncio.get_running_loop().create_task(send(), context=next(contexts))
        if not is_checked:
            task.check()
            is_checked = True

    return call
