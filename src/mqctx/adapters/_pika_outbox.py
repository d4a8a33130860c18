"""Channels of their own on which pika sends copies, and learns whether they were confirmed."""

from collections import deque
from contextlib import suppress
from typing import Any, Final

from pika import spec
from pika.exceptions import AMQPError, UnroutableError

from mqctx.adapters._copy import CONFIRM_SECONDS, Copy
from mqctx.adapters._pika_properties import PropertiesAsBytes
from mqctx.adapters._settled import Then
from mqctx.adapters._settling import NotSentError

_NOT_ROUTED: Final = "it was not routed to any queue"
_NOT_IN_TIME: Final = f"it was not confirmed within {CONFIRM_SECONDS:.0f} seconds"


class BlockingOutbox:
    """For a BlockingConnection: it waits for each confirm, and calls no handler meanwhile."""

    def __init__(self) -> None:
        self._channel: Any = None
        self._is_late = False

    def send(self, connection: Any, what: Copy) -> None:
        """Publish a copy.

        Raises:
            NotSentError: it was not routed, or not confirmed in time. Else pika's own error.
        """
        if self._channel is None or not self._channel.is_open:
            self._channel = connection.channel()
            self._channel.confirm_delivery()
        properties = PropertiesAsBytes(what.properties)
        # Below the BlockingConnection, which runs its own timers only between two handlers.
        loop: Any = connection._impl.ioloop
        self._is_late = False
        timer = loop.call_later(CONFIRM_SECONDS, self._too_late)
        try:
            self._channel.basic_publish(
                what.exchange, what.routing_key, what.body, properties, mandatory=True
            )
        except UnroutableError:
            raise NotSentError(_NOT_ROUTED) from None
        except Exception:
            if self._is_late:  # whatever pika makes of a channel that is closed meanwhile
                raise NotSentError(_NOT_IN_TIME) from None
            raise
        finally:
            loop.remove_timeout(timer)

    def _too_late(self) -> None:
        self._is_late = True
        self._channel._impl.close()


class CallbackOutbox:
    """For the other connections, which cannot wait: one copy after another, by callbacks."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Copy, Then]] = deque()
        self._connection: Any = None
        self._channel: Any = None
        self._returned = False
        self._timer: Any = None

    def send(self, connection: Any, what: Copy, then: Then) -> None:
        """Publish a copy, and call `then` with None once it is confirmed, else with the reason."""
        self._connection = connection
        self._waiting.append((what, then))
        if len(self._waiting) == 1:
            self._next()

    def _next(self) -> None:
        if not self._waiting:
            return
        try:
            if self._channel is None:
                self._channel = self._connection.channel(on_open_callback=self._on_open)
                self._channel.add_on_close_callback(self._on_close)
            elif self._channel.is_open:
                self._publish()
            # Else it is being opened or closed, whose callback goes on.
        except AMQPError as error:
            self._answer(error)

    # If the channel is closing when pika calls one of these, `_on_close` will answer.

    def _on_open(self, channel: Any) -> None:
        channel.add_on_return_callback(self._on_return)
        with suppress(AMQPError):
            channel.confirm_delivery(self._on_confirm, callback=self._on_selected)

    def _on_selected(self, _: object) -> None:
        with suppress(AMQPError):
            self._publish()

    def _publish(self) -> None:
        what, _ = self._waiting[0]
        self._returned = False
        self._timer = self._connection._adapter_call_later(CONFIRM_SECONDS, self._too_late)
        self._channel.basic_publish(
            what.exchange,
            what.routing_key,
            what.body,
            PropertiesAsBytes(what.properties),
            mandatory=True,
        )

    def _on_return(self, *_: object) -> None:
        self._returned = True

    def _on_confirm(self, frame: Any) -> None:
        if isinstance(frame.method, spec.Basic.Nack):
            self._answer(NotSentError("the broker refused it"))
        else:
            self._answer(NotSentError(_NOT_ROUTED) if self._returned else None)

    def _too_late(self) -> None:
        self._timer = None
        with suppress(AMQPError):
            self._channel.close(reply_text=_NOT_IN_TIME)

    def _on_close(self, _: Any, reason: Exception) -> None:
        self._channel = None
        if self._waiting:
            self._answer(reason)

    def _answer(self, problem: Exception | None) -> None:
        if self._timer is not None:
            self._connection._adapter_remove_timeout(self._timer)
            self._timer = None
        _, then = self._waiting.popleft()
        then(problem)
        self._next()
