"""The active context in the event dicts of structlog."""

from collections.abc import Iterable, MutableMapping
from typing import Any, Final

from mqctx.logging._fields import RECORD_NAMES, Fields

__all__ = ["ContextProcessor"]

# Keys by which structlog's own processors, and `logging` behind them, act; over values that they do
# not expect they raise, and a context may be a stranger's.
RESERVED: Final = RECORD_NAMES | {
    "_record",
    "exception",
    "level",
    "positional_args",
    "stack",
    "stacklevel",
}


class ContextProcessor:
    """Put the active context into each event dict; keys that are there already win.

    Keys that structlog or `logging` give a meaning (`level`, `exc_info`, `name`, ...) are not
    shown, except with a prefix. Values are the context's own objects: read only.

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
        self._fields = Fields(names, prefix, redact, RESERVED)

    def __call__(
        self, _logger: object, _method: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Put the context into `event_dict`, and return it."""
        for name, shown, _ in self._fields():
            event_dict.setdefault(name, shown)
        return event_dict
