"""All errors that mqctx raises.

::

    MqctxError
    ├── ConfigurationError (ValueError)     a setting that cannot work
    ├── InvalidNameError (ValueError)       a name that cannot travel
    ├── InvalidValueError (TypeError)       a value that cannot travel, or does not fit its variable
    ├── MissingValueError (LookupError)     a variable without value and without default
    ├── InactiveError (RuntimeError)        `bind` outside a run
    ├── ScopeError (RuntimeError)           one scope object entered twice at a time
    ├── HandlerError (TypeError)            a function that could not keep the context
    ├── HeadersError (TypeError)            message headers that are not a mapping
    └── OversizeError (ValueError)          a context over the limit of bytes

Reading a message raises none of them: what cannot be restored is a `Rejection`.
"""

from collections.abc import Iterable


class MqctxError(Exception):
    """The base of every error that mqctx raises."""


class ConfigurationError(MqctxError, ValueError):
    """A setting cannot work: the message names it and what it may be."""


class InvalidNameError(MqctxError, ValueError):
    """A name is not an identifier (with `.` and `-` allowed inside) of at most 64 characters."""


class InvalidValueError(MqctxError, TypeError):
    """A value cannot travel in a message, or does not fit the type declared for its name."""


class MissingValueError(MqctxError, LookupError):
    """A variable has no value in the active context, and no default."""


class InactiveError(MqctxError, RuntimeError):
    """`bind` was called where no run and no scope is active."""


class ScopeError(MqctxError, RuntimeError):
    """A scope object was entered again before it was left."""


class HandlerError(MqctxError, TypeError):
    """A function is of a kind whose body would run outside the context, or not at all."""


class HeadersError(MqctxError, TypeError):
    """The headers given for publishing are not a mapping."""


class OversizeError(MqctxError, ValueError):
    """The context needs more room in the headers than the propagator, or a format, allows.

    `names` are those of values that a format has no room for; without them it has.
    """

    def __init__(self, message: str, names: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.names: tuple[str, ...] = tuple(names)
