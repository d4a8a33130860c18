"""Hooks of aio-pika's iterators and `process` blocks: where work begins, and where it ends."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

from aio_pika import Channel
from aio_pika.exceptions import ChannelInvalidStateError
from aio_pika.message import ProcessContext
from aio_pika.queue import QueueIterator
from aio_pika.robust_queue import RobustQueueIterator

from mqctx._core.store import restored_here
from mqctx._propagation.propagator import Propagator, registry
from mqctx.adapters._aio_pika_blocks import Block, Loop, OpenBlocks
from mqctx.adapters._aio_pika_reports import origin_of
from mqctx.adapters._handler import context_from, headers_of
from mqctx.adapters._instrumentation import Hook, Instrumentation, Method
from mqctx.adapters._reports import begin, name_of_caller

_HANDS_ON: Final = "taskiq_aio_pika."
"""The modules whose loop does no work on messages: taskiq does it elsewhere."""


class BlockHooks:
    """The hooks that begin and end blocks. Only an `async with` shows when the work ends."""

    def __init__(self, instrumentation: Instrumentation, blocks: OpenBlocks) -> None:
        self._instrumentation = instrumentation
        self._blocks = blocks

    def __iter__(self) -> Iterator[Hook]:
        yield Hook(QueueIterator, "__aenter__", self._around_enter)
        yield Hook(QueueIterator, "__aiter__", self._around_iterate)
        yield Hook(QueueIterator, "__anext__", self._around_next)
        yield Hook(RobustQueueIterator, "__anext__", self._around_next)
        yield Hook(QueueIterator, "__aexit__", self._around_exit)
        yield Hook(ProcessContext, "__aenter__", self._around_process)
        yield Hook(ProcessContext, "__aexit__", self._around_exit)

    def _around_enter(self, original: Method) -> Method:
        async def enter(iterator: QueueIterator) -> object:
            entered = await original(iterator)
            self._blocks.enter(iterator)
            return entered

        return enter

    def _around_iterate(self, original: Method) -> Method:
        def iterate(iterator: QueueIterator) -> object:
            is_entered = iterator in self._blocks
            return Loop(iterator, self._blocks) if is_entered else original(iterator)

        return iterate

    def _around_next(self, original: Method) -> Method:
        # No `async def`: it would begin in the task that awaits it, and `asyncio.wait_for` of
        # Python 3.11 makes a task for that.
        def advance(iterator: Any) -> object:
            propagator = self._instrumentation.propagator_for(iterator._amqp_queue, owners)
            if propagator is None:
                self._blocks.end(iterator)
                return original(iterator)
            block = self._blocks.begin(iterator)
            if block is None:
                return original(iterator)
            return _arriving(iterator, original, block, propagator)

        return advance

    def _around_process(self, original: Method) -> Method:
        async def enter(process: ProcessContext) -> object:
            entered = await original(process)
            propagator = self._instrumentation.propagator_for(process.message, self._carriers)
            self._blocks.enter(process)
            if propagator is not None and (block := self._blocks.begin(process)):
                _restore(block, process.message, propagator)
            return entered

        return enter

    def _around_exit(self, original: Method) -> Method:
        async def leave(entered: object, *error: object) -> object:
            try:
                return await original(entered, *error)
            finally:
                self._blocks.leave(entered, _error_in(error))
                self._instrumentation.tidy()

        return leave

    def _carriers(self, message: Any) -> Iterator[object]:
        """Iterate over the targets that the message came through: it knows aiormq's objects."""
        channel: Any = None
        with suppress(AttributeError, ChannelInvalidStateError):  # of none, or of a closed one
            channel = message.channel
        for target in self._instrumentation.targets if channel else ():
            if _has_carried(target, channel):
                yield target


def _has_carried(target: object, channel: Any) -> bool:
    """Tell whether what came by a channel of aiormq came through a connection or a channel."""
    known: Any = target
    connection = known._connection if isinstance(target, Channel) else known
    transport = connection.transport  # None after the connection was closed
    if not transport or transport.connection is not channel.connection:
        return False
    return connection is known or known.number == channel.number


async def _arriving(
    iterator: object, advance: Method, block: Block, propagator: Propagator
) -> object:
    try:
        message = await advance(iterator)
    except BaseException:
        block.end()
        raise
    _restore(block, message, propagator)
    return message


def _error_in(exit_arguments: tuple[object, ...]) -> BaseException | None:
    return next((each for each in exit_arguments if isinstance(each, BaseException)), None)


def _restore(block: Block, message: object, propagator: Propagator) -> None:
    headers = headers_of(message)
    if restored_here(headers) is not None:
        block.end()
        return
    context = context_from(headers, propagator, message)
    block.arrive(context, headers)
    if registry.report is not None and not (name := name_of_caller()).startswith(_HANDS_ON):
        origin = partial(origin_of, message, ())
        block.report(begin(origin, headers, context, name))


def owners(user: Any) -> Iterator[object]:
    """Iterate over the targets that an exchange or a queue belongs to."""
    yield user.channel
    yield user.channel._connection
