"""Play the story: a thread for each worker, and the requests in the main thread."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from mqctx.cli._demo.stage import Stage

PATIENCE_SECONDS: Final = 10.0
"""The limit for the requests, and again for the handling of their orders."""


class Cast(msgspec.Struct, frozen=True):
    """The services that play the three roles."""

    web: Callable[[Stage], Coroutine[Any, Any, None]]
    billing: Callable[[Stage], None]
    shipping: Callable[[Stage], None]


def play(stage: Stage, cast: Cast) -> None:
    """Return when every order is handled, or the time is up, and all roles have stopped.

    An error of a role is raised here.
    """
    over = stage.journal.over

    def work(role: Callable[[Stage], None]) -> None:
        try:
            role(stage)
        finally:
            over.set()  # Without this worker the rest would wait for nothing.

    with ThreadPoolExecutor() as threads:
        workers = [threads.submit(work, role) for role in (cast.billing, cast.shipping)]
        try:
            asyncio.run(_patiently(cast.web(stage)))
            over.wait(PATIENCE_SECONDS)
        finally:
            over.set()
    for worker in workers:
        worker.result()


async def _patiently(requests: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await requests
