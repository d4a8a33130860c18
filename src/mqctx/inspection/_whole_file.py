"""Files that are there as a whole or not at all."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Generator[TextIO]:
    """Write a file that replaces this one when the block ends without an exception.

    Raises:
        OSError: The file cannot be written, or is no file. Raised before the block begins.
    """
    target = path.resolve()
    # A device would be replaced by a file, too: whoever may do that should not by mistake.
    if target.exists() and not target.is_file():
        raise OSError(f"{path} is no file")
    # Beside the target: only within one file system can a file take another one's place at once.
    draft = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
    try:
        file = draft.open("x", encoding="utf-8", newline="\n")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with file:
            yield file
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
