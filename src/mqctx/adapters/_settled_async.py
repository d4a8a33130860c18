"""Blocks that settle their message when they end, for clients that are awaited."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast

from mqctx._core.context import Context
from mqctx._core.identity import function_name
from mqctx._failures.record import Failure
from mqctx.adapters._settled import Block, Open
from mqctx.adapters._settling import Delivery, Pause, Send, Steps, logger

P = ParamSpec("P")
R = TypeVar("R")


class AsyncDelivery(Delivery, Protocol):
    """A delivery whose client is awaited."""

    async def ack(self) -> None:
        """Acknowledge it."""
        ...

    async def reject(self) -> None:
        """Reject it, not to be delivered again."""
        ...

    async def requeue(self) -> None:
        """Put it back into its queue."""
        ...

    async def send(self, failure: Failure) -> Exception | None:
        """Send a copy; return the exception if it was not confirmed and routed."""
        ...


class AsyncBlock(Block):
    """An `async with` block. As a `with` block, for sync handlers, it does not wait."""

    async def __aenter__(self) -> Context:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            await proceed(self.steps(error), self.delivery)
        except BaseException as raised:
            # Cancelled while the copy was sent: not acknowledged, the message must not stay held.
            if not isinstance(raised, Exception):
                with suppress(Exception):
                    await self.delivery.requeue()
            raise
        finally:
            self.leave()
        return isinstance(error, Exception)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        # In the loop's own thread, where nothing can be waited for.
        _in_background(proceed(self.steps(error), self.delivery))
        self.leave()
        return isinstance(error, Exception)


_under_way: Final = set[asyncio.Task[None]]()
"""The tasks that settle in the background: asyncio itself keeps no more than weak references."""


def _in_background(coroutine: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(coroutine)
    _under_way.add(task)
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[None]) -> None:
    _under_way.discard(task)
    # Asked for here: asyncio tells of an exception only when its task is collected.
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("a message could not be settled: %r", error)


async def proceed(under_way: Steps, delivery: AsyncDelivery) -> None:
    """Take steps; once there is a pause, the rest goes on in the background."""
    answer: Exception | None = None
    while True:
        try:
            step = under_way.send(answer)
        except StopIteration:
            return
        answer = None
        if isinstance(step, Send):
            answer = await delivery.send(step.failure)
        elif isinstance(step, Pause):
            _in_background(_after(step.seconds, under_way, delivery))
            return
        else:
            await cast("Awaitable[None]", step())


async def _after(seconds: float, under_way: Steps, delivery: AsyncDelivery) -> None:
    await asyncio.sleep(seconds)
    await proceed(under_way, delivery)


def settle_async_calls(
    handler: Callable[P, Coroutine[Any, Any, R]], open_block: Open
) -> Callable[P, Coroutine[Any, Any, R | None]]:
    """Return a handler whose message is settled when it ends; its failure is swallowed."""
    name = function_name(handler)

    @functools.wraps(handler)
    async def settling(*args: P.args, **kwargs: P.kwargs) -> R | None:
        async with open_block((*args, *kwargs.values()), name):
            return await handler(*args, **kwargs)

    return settling
