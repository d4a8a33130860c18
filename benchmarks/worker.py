"""Measure one part of one group, in this process: `worker GROUP PART SECONDS OUTPUT`."""

import gc
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.results import save


def main(group: str, part: str, seconds: str, output: str) -> None:
    """Measure it, and write what was measured to a file of pyperf's."""
    module = import_module(f"benchmarks.groups.{group}")
    gc.collect()
    gc.freeze()  # what was imported is no matter of the collector's any more
    save(Path(output), group, part, module.UNIT, module.measure(part, float(seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
