"""Writes a page object by object, and puts it in place once it is whole."""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from mqctx.inspection._pages._data import encoded
from mqctx.inspection._pages._shell import shell
from mqctx.inspection._whole_file import replacing

# The page parses its data block by block, and shows the first ones before it has read the last.
_BLOCK = 500_000


class Page:
    """A page that is being written; made by `dead_letters_page` and `journeys_page`.

    Attributes:
        about: Facts about the data as a whole; may be set until the page ends.
    """

    def __init__(self, file: TextIO) -> None:
        self.about: Mapping[str, object] = {}
        self._file = file
        self._left = 0
        self._open = False

    def add(self, item: Mapping[str, object]) -> None:
        """Write one object, as the command prints it with `--json`."""
        text = encoded(item)
        if self._left > 0:
            self._file.write(",\n")
        else:
            self.end_block()
            self._file.write('<script type="application/json" class="data">[')
            self._left, self._open = _BLOCK, True
        self._file.write(text)
        self._left -= len(text)

    def end_block(self) -> None:
        """Close the block of data that is open, if one is."""
        if self._open:
            self._file.write("]</script>\n")
            self._open = False


def dead_letters_page(path: Path) -> AbstractContextManager[Page]:
    """Write the page of what `mqctx inspect` reads; `about` has `by`, and counts of the command.

    The file is replaced when the block ends; an exception in the block leaves it as it was.

    Raises:
        OSError: The file cannot be written, or is no file. Raised before the block begins.
    """
    return _page(path, "dead_letters", "Dead letters")


def journeys_page(path: Path) -> AbstractContextManager[Page]:
    """Write the page of what `mqctx trace` saw, the summary of which is one more object.

    The file is replaced when the block ends; an exception in the block leaves it as it was.

    Raises:
        OSError: The file cannot be written, or is no file. Raised before the block begins.
    """
    return _page(path, "journeys", "Journeys")


@contextmanager
def _page(path: Path, name: str, title: str) -> Generator[Page]:
    head, tail = shell(name, title)
    with replacing(path) as file:
        file.write(head)
        page = Page(file)
        yield page
        page.end_block()
        file.write(f'<script type="application/json" id="about">{encoded(page.about)}</script>\n')
        file.write(tail)
