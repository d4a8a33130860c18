"""The active context in the `extra` of loguru's records."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mqctx.logging._fields import Fields

if TYPE_CHECKING:
    from loguru import Record

__all__ = ["ContextPatcher"]


class ContextPatcher:
    """Put the active context into each record's `extra`; what is there already wins.

    For `logger.configure(patcher=...)` or `logger.patch(...)`. Names that this process did not
    choose (see `ContextFilter`) are shown below `context.`, since many sinks flatten `extra`. All
    others keep theirs, `level` and `message` too: in `extra` they do not meet the record's own.
    Values are the context's own objects: do not change them.

    Args:
        names: Names that are shown, a trailing `*` for a prefix (`"order.*"`). None: all but
            the local ones.
        prefix: Put before each name, such as `"ctx_"`.
        redact: Names whose values are shown as `***`, in the same way as `names`.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    __slots__ = ("_fields",)

    def __init__(
        self, names: Iterable[str] | None = None, *, prefix: str = "", redact: Iterable[str] = ()
    ) -> None:
        self._fields = Fields(names, prefix, redact)

    def __call__(self, record: "Record") -> None:
        """Put the context into `record`."""
        self._fields.show_active(record["extra"])
