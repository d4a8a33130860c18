"""The destination of messages that their handler could not process."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from mqctx._core.settings import check_callable, check_choice, check_flag, check_text
from mqctx.errors import ConfigurationError


class _To(msgspec.Struct, frozen=True):
    # Of its own, since `kw_only` goes for all fields of a class: this one is given by position.
    exchange: str


class DeadLetter(_To, frozen=True, kw_only=True):
    """The destination of the copy of a message that failed, and what that copy records.

    Args:
        exchange: The exchange that the copy is published to.
        routing_key: Its routing key. None: the one that the message came with.
        queue: The queue that is consumed, for the record: a delivery does not name it.
        fallback: The fate of the message while the copy cannot be sent. `"hold"`: it stays
            unacknowledged and is tried again, with growing pauses. `"reject"`: it is rejected
            without requeue, for queues with a dead-letter exchange of their own; without one it
            would be lost.
        traceback: Whether the record has the end of the traceback.
        redact: Hides what is secret in the message of the exception, the traceback and the values
            bound, which it sees as `name=value`. None: passwords, tokens, keys, card numbers.
        connection: A connection of the client's for the copies. None: the one that consumes; for
            kombu, a clone of it.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    routing_key: str | None = None
    queue: str | None = None
    fallback: Literal["hold", "reject"] = "hold"
    traceback: bool = False
    redact: Callable[[str], str] | None = None
    connection: Any = None

    def __post_init__(self) -> None:
        check_text("dead_letter", self.exchange)
        _if_given(check_text, "routing_key", self.routing_key)
        _if_given(check_text, "queue", self.queue)
        check_choice("fallback", self.fallback, ("hold", "reject"))
        check_flag("traceback", self.traceback)
        _if_given(check_callable, "redact", self.redact, "a function from text to text")
        if not self.exchange and self.routing_key in (None, "", self.queue):
            raise ConfigurationError(
                "dead_letter: through the default exchange a message would come back to its queue; "
                "name an exchange, or a queue: DeadLetter('', routing_key='orders.dead')"
            )


def _if_given(check: Callable[..., object], setting: str, given: object, *meant: str) -> None:
    if given is not None:
        check(setting, given, *meant)


def as_dead_letter(given: object) -> DeadLetter:
    """Return the setting; an exchange may stand for it."""
    if isinstance(given, DeadLetter):
        return given
    if isinstance(given, str):
        return DeadLetter(given)
    raise ConfigurationError(
        "dead_letter: expected an exchange such as 'orders.dead', or DeadLetter(...), got "
        f"{given!r}"
    )
