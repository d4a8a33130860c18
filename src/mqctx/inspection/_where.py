"""Conditions on messages, and the values that a name stands for."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, cast

import msgspec

from mqctx.errors import ConfigurationError

__all__ = ["Where", "as_text", "fits", "values_of"]

_ROOTS: Final = frozenset(
    (
        *("queue", "position", "id", "exchange", "routing_key", "from", "bytes", "published_at"),
        *("redelivered", "deliveries", "context", "verified", "rejections", "deaths", "failure"),
        *("celery", "headers", "message", "death"),
        # Only the events of journeys have these.
        *("kind", "journey", "by", "parent", "joined", "inferred", "at", "message_id"),
        *("correlation_id", "user", "node", "connection", "channel", "queues", "attempt", "wait"),
        *("reason", "count", "service", "handler", "outcome", "error", "duration"),
    )
)


class View(Protocol):
    """A message as names see it."""

    @property
    def plain_context(self) -> Mapping[str, Any]:
        """The context, as plain JSON."""
        ...

    @property
    def failure(self) -> Mapping[str, Any] | None:
        """The reason why it died, as a handler recorded it."""
        ...

    def as_json(self) -> dict[str, Any]:
        """The message as one JSON object."""
        ...


class Where(msgspec.Struct, frozen=True):
    """A condition: the value of `name` is `pattern`, in which only `*` is special.

    Upper and lower case differ. A value that is no text is compared as JSON: `retries=3`,
    `paid=true`; a null by `null` alone. A message without the name never matches.
    """

    name: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> "Where":
        """Read `NAME=VALUE`.

        Raises:
            ConfigurationError: it has no name, or no `=`.
        """
        name, equals, pattern = text.partition("=")
        if not name or not equals:
            raise ConfigurationError(f"{text!r}: write it as NAME=VALUE, such as tenant=acme")
        return cls(name, pattern)

    def matches(self, message: View) -> bool:
        """Tell whether one of the values that the name stands for fits."""
        return any(map(self._fits, values_of(message, self.name)))

    def _fits(self, value: Any) -> bool:
        # A star is anything, and nothing is not anything: `failure=*` has the failed ones.
        return self.pattern == "null" if value is None else fits(self.pattern, as_text(value))


def values_of(message: View, name: str) -> Iterator[Any]:
    """Return the values that `name` stands for: of the context, the failure, or the JSON object.

    Several only where a list is on the way, as in `deaths.reason`.
    """
    # Values that the handler bound come last: they may be newer than those the message brought.
    for told in (message.plain_context, _bound_of(message)):
        if name in told:
            return iter((told[name],))
    if name.partition(".")[0] not in _ROOTS:
        return iter(())
    return _below(_with_aliases(message.as_json()), name)


def _bound_of(message: View) -> Mapping[str, Any]:
    bound = (message.failure or {}).get("bound")
    return cast("dict[str, Any]", bound) if isinstance(bound, dict) else {}


def _with_aliases(whole: dict[str, Any]) -> dict[str, Any]:
    """Add what reads well in a condition: `message.id`, `death.reason` of the newest death."""
    deaths = whole["deaths"]
    return {**whole, "message": whole, "death": deaths[0] if deaths else None}


def _below(value: Any, path: str) -> Iterator[Any]:
    """Return the values at `path`, whose parts may themselves have dots in their names."""
    if isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _below(each, path)
    elif isinstance(value, dict):
        yield from _in_table(cast("dict[str, Any]", value), path)


def _in_table(table: dict[str, Any], path: str) -> Iterator[Any]:
    if path in table:
        yield from _unfolded(table[path])
        return
    # Any dot may end the first part, for a header's own name may have some.
    for at, character in enumerate(path):
        if character == "." and path[:at] in table:
            yield from _below(table[path[:at]], path[at + 1 :])


def _unfolded(value: Any) -> Iterator[Any]:
    """Return a list's own items beside it, so that one of several routing keys can be named."""
    yield value
    if isinstance(value, list):
        yield from cast("list[object]", value)


def as_text(value: Any) -> str:
    """Return the text that a condition is compared with: of all but text, its JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def fits(pattern: str, text: str) -> bool:
    """Tell whether `text` is the pattern, with anything for each `*`, in linear time."""
    first, *middle = pattern.split("*")
    if not middle:
        return text == first
    last = middle.pop()
    if not (text.startswith(first) and text[len(first) :].endswith(last)):
        return False
    return _has_in_order(middle, text[len(first) : len(text) - len(last)])


def _has_in_order(parts: list[str], text: str) -> bool:
    # Not `re` or `fnmatch`: `*a*a*a*b` would take them a time that grows with each star.
    start = 0
    for part in parts:
        at = text.find(part, start)
        if at < 0:
            return False
        start = at + len(part)
    return True
