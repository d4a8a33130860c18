"""The messages that later events may be joined to, and what each of them is found by."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from mqctx.inspection._journeys._model import Copy, Group, Journey, Message, Node, Twins
from mqctx.inspection._journeys._told import Identity
from mqctx.inspection._where import as_text

__all__ = ["Messages"]

_MOST_TWINS = 64
"""How many messages of the same content are looked at: one more does not make it any clearer."""

_NONE: Final = Twins()
"""The twins of what is not known, which nobody changes."""


class _Index(msgspec.Struct, eq=False):
    """Messages by something that several may have in common, the newest last."""

    found: dict[object, list[Message]] = {}

    def add(self, key: object, message: Message) -> None:
        if key is None:
            return
        found = self.found.get(key)
        if found is None:
            self.found[key] = [message]
        else:
            found.append(message)

    def get(self, key: object) -> list[Message]:
        return self.found.get(key, [])[-_MOST_TWINS:] if key is not None else []

    def remove(self, key: object, message: Message) -> None:
        if key is None:
            return
        messages = self.found[key]
        messages.remove(message)
        if not messages:
            del self.found[key]


class Messages:
    """The newest messages, at most `kept` of them.

    Args:
        by: The names of the context that say whose a message is, the first that is there.
        kept: How many messages are kept.
    """

    def __init__(self, by: tuple[str, ...], kept: int) -> None:
        self._by = by
        self._kept = kept
        self._all: deque[Message] = deque()
        self._twins: dict[tuple[int, str], Twins] = {}
        self._same = _Index()
        self._spans = _Index()
        self._answers = _Index()
        self._ids = _Index()
        self._groups: dict[tuple[str, str], Group] = {}

    def sizes(self) -> dict[str, int]:
        """Return how much is kept of what."""
        return {
            "messages": len(self._all),
            "copies": sum(len(each.copies) for each in self._twins.values()),
            "contents": len(self._same.found),
            "spans": len(self._spans.found),
            "answers": len(self._answers.found),
            "groups": len(self._groups),
        }

    def add(self, message: Message) -> None:
        """Keep a message, and forget the oldest one if it is one too many."""
        self._all.append(message)
        self._same.add(message.identity.key, message)
        self._spans.add(message.span, message)
        self._answers.add(message.answers, message)
        self._ids.add(message.id, message)
        message.groups = tuple(map(self._group, self._keys(message.context)))
        if len(self._all) > self._kept:
            self._forget(self._all.popleft())

    def add_copy(self, message: Message, queue: str) -> Copy:
        """Note that a message was routed to a queue."""
        copy = Copy(message, queue)
        message.copies.append(copy)
        key = message.identity.key, queue
        twins = self._twins.get(key)
        if twins is None:
            twins = self._twins[key] = Twins()
        twins.copies.append(copy)
        twins.waiting.append(copy)
        return copy

    def twins(self, identity: Identity, origin: str) -> Twins:
        """Return the copies of a content that came to a queue."""
        return self._twins.get((identity.key, origin), _NONE)

    def same_as(self, message: Message) -> list[Message]:
        """Return the messages of the same content that came before it."""
        # Among very many of one content, it may be too old to be looked at itself.
        found = self._same.get(message.identity.key)
        if len(found) == 1:
            return []
        return found[: found.index(message)] if message in found else []

    def of_span(self, span: str | None) -> list[Message]:
        """Return the messages that are this span."""
        return self._spans.get(span)

    def of_id(self, message_id: str) -> list[Message]:
        """Return the messages with an id."""
        return self._ids.get(message_id)

    def ends_of(self, context: Mapping[str, Any]) -> list[Node]:
        """Return the deliveries of the request that a context is of."""
        groups = (self._groups.get(key) for key in self._keys(context))
        return next((list(each.ends) for each in groups if each is not None), list[Node]())

    def journey_of(self, context: Mapping[str, Any]) -> Journey | None:
        """Return the journey of the request that a context is of, if one is known."""
        groups = (self._groups.get(key) for key in self._keys(context))
        return next((each.journey for each in groups if each is not None), None)

    def awaiting(self, queue: str, correlation_id: str | None) -> list[Message]:
        """Return the requests whose answer goes to a queue with this correlation id."""
        return self._answers.get((queue, correlation_id))

    def _keys(self, context: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for name in self._by:
            value = context.get(name)
            if value is not None:
                yield name, as_text(value)

    def _group(self, key: tuple[str, str]) -> Group:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(key)
        group.messages += 1
        return group

    def _forget(self, message: Message) -> None:
        self._same.remove(message.identity.key, message)
        self._spans.remove(message.span, message)
        self._answers.remove(message.answers, message)
        self._ids.remove(message.id, message)
        for group in message.groups:
            group.messages -= 1
            if not group.messages:
                del self._groups[group.key]
        for copy in message.copies:
            self._forget_copy(copy)

    def _forget_copy(self, copy: Copy) -> None:
        key = (copy.message.identity.key, copy.origin)
        twins = self._twins[key]
        # The oldest is the first to go.
        twins.copies.remove(copy)
        if twins.waiting and twins.waiting[0] is copy:
            del twins.waiting[0]
        if not twins.copies:
            del self._twins[key]
