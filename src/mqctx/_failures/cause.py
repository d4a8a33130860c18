"""Facts about an exception: its type, text and place, and a fingerprint to group it by."""

import os
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import Final

import msgspec

from mqctx._core.values import type_name

_OWN: Final = str(PurePath(__file__).parents[1]) + os.sep
_LIBRARIES: Final = (
    _OWN,
    "<frozen ",
    # Prefixes of files, each with its separator: `/usr/lib/python3` is none of
    # `/usr/lib/python3.11`.
    *{sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)
# Virtual environments lie anywhere, and Debian calls the directory by another name.
_PACKAGES: Final = frozenset(("site-packages", "dist-packages"))
_MOST_FRAMES: Final = 50
"""How many frames of a traceback are written: more would not fit."""


class Place(msgspec.Struct, frozen=True):
    """A frame that an exception went through."""

    file: str
    line: int
    function: str
    module: str
    start: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function.rpartition('.')[2]}"

    @property
    def qualified_name(self) -> str:
        """The name of the function, with its module."""
        return f"{self.module}.{self.function}"

    @property
    def identity(self) -> str:
        """The same while the function does not change, wherever it stands in its file."""
        return f"{self.qualified_name}+{self.line - self.start}"

    def is_library(self, package: str) -> bool:
        """Whether it is in code that was installed, and not in `package`, the application's."""
        if self.module.partition(".")[0] == package:
            return False
        return self.file.startswith(_LIBRARIES) or not _PACKAGES.isdisjoint(
            PurePath(self.file).parts
        )


class Cause:
    """An exception, and the places that it came through on its way to mqctx."""

    def __init__(self, error: BaseException, handler: str | None = None) -> None:
        """Take the qualified name of the handler; without one, the code around counts as it."""
        self._error = error
        self._start = _without_own(error.__traceback__)
        places = list(_places(self._start))
        if handler is None and places:
            handler = places[0].qualified_name
        self.handler = handler
        """The qualified name of the function that handled the message."""
        self._ours = _without_libraries(places, (handler or "").partition(".")[0])

    @property
    def type(self) -> str:
        """The qualified name of its class; a builtin's has no module."""
        return type_name(type(self._error))

    @property
    def text(self) -> str:
        """Its text, of any length."""
        try:
            return str(self._error)
        except Exception:  # noqa: BLE001 - anybody's code
            return "(its text cannot be had)"

    @property
    def where(self) -> str | None:
        """File, line and function of the last frame that is not a library's."""
        return str(self._ours[-1]) if self._ours else None

    @property
    def fingerprint(self) -> str:
        """16 hex digits that are the same for the same type on the same way.

        A function counts once, however deep it called itself.
        """
        way = dict.fromkeys(place.identity for place in self._ours)
        # Without the text of the error, in which ids and amounts differ each time.
        text = "\n".join((self.type, *way))
        return blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()

    def lines(self) -> Iterable[str]:
        """Return its traceback, with the exceptions that led to it, in parts of any length."""
        error = self._error
        # `compact` keeps no frames of causes that are not shown; the limit counts from the end.
        told = traceback.TracebackException(
            type(error), error, self._start, limit=-_MOST_FRAMES, compact=True
        )
        return told.format()


def _without_libraries(places: list[Place], package: str) -> list[Place]:
    """Return the places in the application's own code, or all of them if none is there."""
    # A failure within libraries alone has to be told apart from others, too.
    return [each for each in places if not each.is_library(package)] or places


def _without_own(start: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame that is not mqctx's, if there is one."""
    # The frames of wrappers come first: a handler is called by mqctx, never the other way round.
    place = start
    while place is not None:
        if not place.tb_frame.f_code.co_filename.startswith(_OWN):
            return place
        place = place.tb_next
    return start


def _places(start: TracebackType | None) -> Iterator[Place]:
    for frame, line in traceback.walk_tb(start):
        yield _place(frame, line)


def _place(frame: FrameType, line: int | None) -> Place:
    code = frame.f_code
    module = str(frame.f_globals.get("__name__", ""))
    return Place(code.co_filename, line or 0, code.co_qualname, module, code.co_firstlineno)
