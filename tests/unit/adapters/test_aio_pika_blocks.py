"""Blocks of aio-pika's iterators that are left open."""

import weakref

import pytest

from mqctx import Context, current
from mqctx.adapters._aio_pika_blocks import OpenBlocks

CARRIED = {"mqctx": '{"user":"ada"}'}


@pytest.mark.asyncio
async def test_an_iterator_that_is_dropped_without_being_left_is_not_kept() -> None:
    class Iterator: ...

    blocks, iterator = OpenBlocks(), Iterator()
    blocks.enter(iterator)
    block = blocks.begin(iterator)
    assert block is not None
    block.arrive(Context(user="ada"), CARRIED)
    assert blocks
    assert current() == {"user": "ada"}
    gone = weakref.ref(iterator)
    del iterator
    assert gone() is None
    assert not blocks
