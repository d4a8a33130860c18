"""The objects and memory that this process holds, counted without a clock."""

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from mqctx import Context


@dataclass(frozen=True, slots=True)
class Held:
    """The counts after a full garbage collection."""

    contexts: int
    objects: int
    blocks: int
    resident: int

    def more_than(self, before: "Held") -> "Held":
        """Return how much more is held than before."""
        return Held(
            self.contexts - before.contexts,
            self.objects - before.objects,
            self.blocks - before.blocks,
            self.resident - before.resident,
        )


def held() -> Held:
    """Count contexts, objects that the collector knows, blocks of memory, and resident bytes."""
    gc.collect()
    objects = gc.get_objects()
    contexts = sum(type(each) is Context for each in objects)
    return Held(contexts, len(objects), sys.getallocatedblocks(), _resident())


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
