"""See what is settled on a channel of pika, which does not tell."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from pika.channel import Channel


class Watch:
    """The deliveries of a channel that wait to be settled."""

    def __init__(self) -> None:
        self._expected: set[int] = set()
        self._is_placed = False

    def expect(self, channel: Channel, tag: int) -> None:
        """Watch for a delivery to be settled."""
        if not self._is_placed:
            self._place(channel)
        self._expected.add(tag)

    def is_settled(self, tag: int) -> bool:
        """Tell whether an expected delivery has been settled."""
        return tag not in self._expected

    def _place(self, channel: Any) -> None:
        self._is_placed = True
        # A BlockingChannel calls those of the channel below it: each call passes here.
        for name in ("basic_ack", "basic_nack", "basic_reject"):
            setattr(channel, name, self._watched(getattr(channel, name)))
        channel.basic_recover = self._all_watched(channel.basic_recover)

    def _watched(self, verb: Callable[..., None]) -> Callable[..., None]:
        @wraps(verb)
        def watched(delivery_tag: int = 0, *args: Any, **options: Any) -> None:
            verb(delivery_tag, *args, **options)
            # Only now: a verb that raises has settled nothing.
            multiple = verb.__name__ != "basic_reject" and bool(
                args[0] if args else options.get("multiple")
            )
            self._settle(delivery_tag, multiple)

        return watched

    def _all_watched(self, recover: Callable[..., None]) -> Callable[..., None]:
        @wraps(recover)
        def watched(*args: Any, **options: Any) -> None:
            recover(*args, **options)
            self._expected.clear()  # the broker delivers them again, with other tags

        return watched

    def _settle(self, tag: int, multiple: bool) -> None:
        if not multiple:
            self._expected.discard(tag)
        else:
            last = tag or max(self._expected, default=0)
            self._expected = {each for each in self._expected if each > last}
