"""The context in a block of the application's code: the body of a loop, a `process` block.

There is no call around such code that could run in a context; the code only begins and ends. Blocks
may end in any order, and in another task: a generator that is left early is closed by a task of the
event loop. So a block ends for the task that owns it, wherever the end is noticed. Tasks that the
owner started meanwhile keep the context of the message.
"""

import asyncio
from asyncio import Task
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from weakref import WeakKeyDictionary, ref

from mqctx._core import linked_vars
from mqctx._core.context import Context
from mqctx._core.registry import registry
from mqctx._core.runs import active_run
from mqctx._core.store import Store, active_store, set_store
from mqctx.adapters._reports import Begun

if TYPE_CHECKING:
    from contextvars import ContextVar

_AnyTask: TypeAlias = Task[Any]


class Block:
    """A stand-in for a store, which is read like that of its message, or the store around it.

    It may begin before its message is there, and shows the store around it until then. Its owner
    sees the store around it again when it is over.
    """

    __slots__ = (
        *("_around", "_may_fill", "_message", "_owner", "_replaced", "_run"),
        *("in_loop", "is_over"),
    )

    def __init__(self, owner: _AnyTask) -> None:
        # Weakly: a context that was copied while the block was open may outlive the task.
        self._owner = ref(owner)
        self._message: Store | None = None
        self._may_fill = True
        self._replaced: list[tuple[ContextVar[Any], object]] = []
        self._run: Begun | None = None
        self.in_loop = False
        """Whether a `Loop` ends it."""
        self.is_over = False
        _drop_finished()
        around: Any = active_store()  # a store, or a block
        if type(around) is Block and not around.is_mine():
            around = around.live  # inherited from another task: it changes no more for this one
        self._around: Any = around
        self._leave_out_finished()
        set_store(cast("Store", self))  # it has all attributes that are read

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
        """Tell whether the running task owns it."""
        task = _running_task()
        return task is not None and self._owner() is task

    def arrive(self, context: Context, headers: object) -> None:
        """Show the context of the message that came, if its owner is sure to work on this one."""
        if not self._may_show_a_message():
            self.end()
            return
        self._message = Store(context, headers, context)
        self._replaced.extend((other.contextvar, other.read()) for other in registry.links)
        linked_vars.set_to(context)

    def _may_show_a_message(self) -> bool:
        # Linked variables can only be set by their owner: not if another task awaited it.
        return self.is_waiting and self._may_fill and (self.is_mine() or not registry.linked)

    def report(self, begun: Begun | None) -> None:
        """Report the run that has begun when the block ends."""
        if begun is None or self.is_over:
            return
        self._run = begun
        if self.is_mine():
            self._replaced.append((active_run, active_run.get()))
            active_run.set(begun.run)

    def stay_empty(self) -> None:
        """Never show a message: the owner waits for several at once."""
        self._may_fill = False

    def end(self, error: BaseException | None = None) -> None:
        """Show the store around it to its owner from now on, whichever task calls."""
        begun, self._run = self._run, None
        if begun is not None:
            begun.end(error)
        self.stop()

    def stop(self) -> None:
        """Do the same, but for the report: whoever calls `end` later knows of an error."""
        if self._run is not None:
            self._run.stop()
        self.is_over = True
        _drop_finished()

    def undo(self) -> None:
        """Make the store around it the active one."""
        # Set, not reset by a token: blocks end in any order, and in contexts that were copied.
        set_store(self._around)
        for contextvar, value in self._replaced:
            contextvar.set(value)

    def _leave_out_finished(self) -> None:
        """Shorten the chain, which would grow as long as blocks overlap."""
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
    # A finished block below another is left out, or undone after that.
    top: Any = active_store()
    while type(top) is Block and top.is_over and top.is_mine():
        top.undo()
        top = active_store()


def _running_task() -> _AnyTask | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None


def _end_last(last: Block | None) -> bool:
    """End the last block of a task; tell whether it still waits for the message of that one."""
    if last is None:
        return False
    is_waiting = last.is_waiting
    last.end()
    return is_waiting


_NO_BLOCKS: WeakKeyDictionary[_AnyTask, Block] = WeakKeyDictionary()


class OpenBlocks:
    """The iterators and `process` blocks that are open, and the block of each task in them."""

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
        """Return a new block for the running task, and end its last one; None if it was left."""
        blocks, task = self._open.get(entered), _running_task()
        if blocks is None or task is None:
            return None
        waits_for_several = _end_last(blocks.pop(task, None))
        block = blocks[task] = Block(task)
        if waits_for_several:
            block.stay_empty()
        return block

    def end(self, entered: object) -> None:
        """End the block of the running task."""
        block = self._take(entered)
        if block is not None:
            block.end()

    def _take(self, entered: object) -> Block | None:
        """Return the block of the running task, and keep it no longer."""
        task = _running_task()
        return None if task is None else self._open.get(entered, _NO_BLOCKS).pop(task, None)

    def leave(self, entered: object, error: BaseException | None = None) -> None:
        """End the blocks in it, except those of loops that other tasks are still in.

        `error` is what the running task leaves with.
        """
        own = self._take(entered)
        if own is not None:
            own.end(error)
        # A copy: tasks may be collected, and drop out of the dict, while it is iterated over.
        for block in tuple(self._open.pop(entered, _NO_BLOCKS).values()):
            if not block.in_loop or block.is_over:
                block.end()

    def block_of(self, entered: object) -> Block | None:
        """Return the block of the running task."""
        task = _running_task()
        return None if task is None else self._open.get(entered, _NO_BLOCKS).get(task)


class Loop:
    """An iterator for an `async for`, which drops it when the loop ends, however it ends.

    So a task has left its block too if it breaks out of a loop that another one entered.
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
            # An error that ends the loop is seen where the iterator is left.
            (self._block.stop if self._iterator in self._blocks else self._block.end)()
