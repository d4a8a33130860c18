"""The command line: `mqctx`, or `python -m mqctx`."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mqctx._lazy import names_of

if TYPE_CHECKING:
    from mqctx.cli._group import commands

__all__ = ["commands", "main"]

INTERRUPTED: Final = 130
"""The exit code of Ctrl-C."""

_MANY: Final = 100_000
"""New objects after which Python looks for cycles: a look makes millions, and no cycles of them."""

# The commands need the extra `cli`.
__getattr__: Callable[[str], Any] = names_of(__name__, __package__, {"commands": "_group"})


def main() -> None:
    """Run the command that the program's arguments name.

    Exits with one line that names the extra if the command needs a library that is missing.
    """
    gc.set_threshold(_MANY)
    _open_missing_streams()
    try:
        from mqctx.cli._group import commands  # noqa: PLC0415 - needs the extra

        commands(prog_name="mqctx")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "mqctx":
            raise  # a defect of ours, which an extra would not mend
        sys.exit(f"mqctx: no module named {missing!r}; install it with: pip install 'mqctx[cli]'")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)  # while it loads; from then on the commands see to it


def _open_missing_streams() -> None:
    """Let what is printed go nowhere where the caller has closed stdout or stderr (`>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the program ends
