"""The context in code of the application's own: the body of a loop, a `process` block.

No call that could run in a context encloses such code; it only begins and ends. Blocks may end in
any order, and in another task: a generator that is left early is closed by one of the event loop.
So a block ends for the task that owns it, wherever that was noticed, while what this task started
meanwhile keeps the context of the message.
"""

import asyncio
from asyncio import Task
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from weakref import WeakKeyDictionary, ref

from mqctx._core import linked_vars
from mqctx._core.context import Context
from mqctx._core.registry import registry
from mqctx._core.store import Store, active_store, set_store

if TYPE_CHECKING:
    from contextvars import ContextVar

_AnyTask: TypeAlias = Task[Any]


class Block:
    """Stands where a store does, and is read like one: like that of its message, or what is around.

    It may begin before its message is there. It shows what is around it until then; to its owner
    also when it is over.
    """

    __slots__ = ("_around", "_may_fill", "_message", "_owner", "_replaced", "in_loop", "is_over")

    def __init__(self, owner: _AnyTask) -> None:
        self._owner = ref(owner)
        self._message: Store | None = None
        self._may_fill = True
        self._replaced: list[tuple[ContextVar[Any], object]] = []
        self.in_loop = False
        """Whether a `Loop` ends it."""
        self.is_over = False
        _drop_finished()
        around: Any = active_store()  # a store, or a block
        if type(around) is Block and not around.is_mine():
            around = around.live  # inherited from another task: it changes no more for this one
        self._around: Any = around
        self._leave_out_finished()
        set_store(cast("Store", self))  # it has all that is read of one

    def __getattr__(self, name: str) -> Any:
        return getattr(self.live, name)

    @property
    def live(self) -> Store:
        """The store that it stands for at this moment, in this task."""
        if self._message is not None and not (self.is_over and self.is_mine()):
            return self._message
        if self.is_over:
            _drop_finished()
        around: Store = self._around.live
        return around

    @property
    def is_waiting(self) -> bool:
        """Whether its message may still come."""
        return self._message is None and not self.is_over

    def is_mine(self) -> bool:
        """Whether the running task owns it."""
        task = _running_task()
        return task is not None and self._owner() is task

    def arrive(self, context: Context, headers: object) -> None:
        """Show the context of the message that came, if its owner is sure to work on this one."""
        # Where another task awaited it, linked variables cannot be set: they are the owner's.
        if self.is_waiting and self._may_fill and (self.is_mine() or not registry.linked):
            self._message = Store(context, headers, context)
            for other, value in linked_vars.assignments(context):
                self._replaced.append((other.contextvar, other.read()))
                other.contextvar.set(value)
        else:
            self.end()

    def stay_empty(self) -> None:
        """Never show a message: the owner waits for several at once."""
        self._may_fill = False

    def end(self) -> None:
        """Show what is around it to its owner from now on, whichever task calls."""
        self.is_over = True
        _drop_finished()

    def undo(self) -> None:
        """Make active what is around it."""
        set_store(self._around)
        for contextvar, value in self._replaced:
            contextvar.set(value)

    def _leave_out_finished(self) -> None:
        """Shorten the chain, which else would grow as long as blocks overlap."""
        block: Any = self
        while type(below := block._around) is Block:
            if below.is_waiting:
                self.stay_empty()
                below.stay_empty()
            if below.is_over:
                block._around = below._around
                block._replaced = below._replaced or block._replaced
            else:
                block = below


def _drop_finished() -> None:
    """Undo the innermost blocks of this task, as far as they are over."""
    # One that is over below another is left out, or undone after it.
    top: Any = active_store()
    while type(top) is Block and top.is_over and top.is_mine():
        top.undo()
        top = active_store()


def _running_task() -> _AnyTask | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None


class OpenBlocks:
    """What was entered with `async with` and not left yet, and the block of each task in it."""

    def __init__(self) -> None:
        self._open: WeakKeyDictionary[object, WeakKeyDictionary[_AnyTask, Block]]
        self._open = WeakKeyDictionary()

    def __bool__(self) -> bool:
        return bool(self._open)

    def __contains__(self, entered: object) -> bool:
        return entered in self._open

    def enter(self, entered: object) -> None:
        """Begin to keep blocks for it."""
        self._open.setdefault(entered, WeakKeyDictionary())

    def begin(self, entered: object) -> Block | None:
        """Return a new block for the running task, whose last one ends; None where it is left."""
        blocks, task = self._open.get(entered), _running_task()
        if blocks is None or task is None:
            return None
        last = blocks.pop(task, None)
        several = last is not None and last.is_waiting
        if last is not None:
            last.end()
        block = blocks[task] = Block(task)
        if several:
            block.stay_empty()
        return block

    def end(self, entered: object) -> None:
        """End the block of the running task."""
        blocks, task = self._open.get(entered), _running_task()
        if blocks is not None and task is not None and (block := blocks.pop(task, None)):
            block.end()

    def leave(self, entered: object) -> None:
        """End the blocks in it, but those of loops that other tasks are still in."""
        blocks = self._open.pop(entered, None)
        task = _running_task()
        for owner, block in tuple(blocks.items() if blocks else ()):
            if owner is task or not block.in_loop:
                block.end()

    def block_of(self, entered: object) -> Block | None:
        """Return the block of the running task."""
        blocks, task = self._open.get(entered), _running_task()
        return None if blocks is None or task is None else blocks.get(task)


class Loop:
    """What an `async for` iterates over: it is dropped when the loop ends, however it ends.

    So a task that breaks out of a loop which it did not enter with `async with` has left its block.
    """

    __slots__ = ("_block", "_blocks", "_iterator")

    def __init__(self, iterator: AsyncIterator[Any], blocks: OpenBlocks) -> None:
        self._iterator = iterator
        self._blocks = blocks
        self._block: Block | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._iterator, name)

    def __aiter__(self) -> "Loop":
        return self

    def __anext__(self) -> Awaitable[Any]:
        self._end()  # as the iterator itself does, unless it was left meanwhile
        coming = self._iterator.__anext__()
        self._block = self._blocks.block_of(self._iterator)
        if self._block is not None:
            self._block.in_loop = True
        return coming

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        if self._block is not None:
            self._block.end()
