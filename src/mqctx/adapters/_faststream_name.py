"""The names of the handlers that FastStream calls."""

from contextlib import suppress
from typing import Any

from mqctx._core.identity import function_name

__all__ = ["name_of_handler"]


def name_of_handler(subscriber: Any) -> str:
    """Return the name of the first function that is subscribed: filters choose among them later."""
    with suppress(AttributeError, IndexError):
        return function_name(subscriber.calls[0].handler._original_call)
    return function_name(subscriber)
