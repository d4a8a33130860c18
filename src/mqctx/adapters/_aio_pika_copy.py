"""Copy a message for an exchange class that is not the client's own."""

from contextlib import suppress
from functools import lru_cache
from types import MemberDescriptorType

from aio_pika.abc import AbstractMessage


def copied_message(message: AbstractMessage) -> AbstractMessage | None:
    """Return a message of the same type with the same attributes; None if it cannot be copied.

    `copy.copy` takes several times as long, and makes a plain Message.
    """
    try:
        copied = object.__new__(type(message))
        for slot in _slots(type(message)):
            with suppress(AttributeError):  # it was never set
                slot.__set__(copied, slot.__get__(message))
        if own := getattr(message, "__dict__", None):
            vars(copied).update(own)
        object.__setattr__(copied, "headers", message.headers)  # also where it is locked
    except (AttributeError, TypeError):  # no attribute that can be set, no class in Python
        return None
    return copied


@lru_cache
def _slots(kind: type) -> tuple[MemberDescriptorType, ...]:
    # Not by `__slots__`: names that begin with two underscores are mangled there.
    attributes = (each for owner in kind.__mro__ for each in vars(owner).values())
    return tuple(each for each in attributes if isinstance(each, MemberDescriptorType))
