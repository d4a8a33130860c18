"""Which queues a message would reach, by the bindings that the management API tells."""

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

import msgspec

from mqctx.inspection._management import Management, ManagementError

__all__ = ["UNKNOWN", "NoRoutes", "Route", "Routes"]

_NOT_FOUND: Final = 404
_DEFAULT: Final = ""


class Route(msgspec.Struct, frozen=True):
    """The queues that a message reaches; `is_sure` is False if there may be others."""

    queues: frozenset[str] = frozenset()
    is_sure: bool = True

    def __or__(self, other: "Route") -> "Route":
        return Route(self.queues | other.queues, self.is_sure and other.is_sure)

    def names(self, but: str | None = None) -> tuple[str, ...] | None:
        """Return the queues in order, without one of them; None if nobody can tell all."""
        return tuple(sorted(self.queues - {but})) if self.is_sure else None


UNKNOWN: Final = Route(is_sure=False)


class NoRoutes:
    """The routes of a vhost whose exchanges are unknown."""

    needs_headers: Final = False

    def __init__(self, has_queue: Callable[[str], bool]) -> None:
        self._has_queue = has_queue

    def of(self, exchange: str, keys: Collection[str], _: object) -> Route:
        """Return where the default exchange leads: only that is known."""
        return _by_default(self._has_queue, keys) if exchange == _DEFAULT else UNKNOWN

    published = of


def _by_default(has_queue: Callable[[str], bool], keys: Collection[str]) -> Route:
    # Each queue is bound to it by its own name, which no list of bindings shows.
    return Route(frozenset(filter(has_queue, keys)))


class Routes:
    """The exchanges and bindings of a vhost, each asked for once."""

    def __init__(
        self, management: Management, vhost: str, has_queue: Callable[[str], bool]
    ) -> None:
        self._management = management
        self._vhost = vhost
        self._has_queue = has_queue
        self._exchange = cache(self._ask_for_exchange)
        self._bindings = cache(self._ask_for_bindings)
        self.needs_headers = False
        """Whether a route that was asked for depended on more than its routing keys."""

    def of(self, exchange: str, keys: Collection[str], headers: Mapping[str, Any]) -> Route:
        """Return where a message goes that an exchange gets with these routing keys and headers.

        Raises:
            ManagementError: it cannot be asked.
        """
        return self._of(exchange, keys, headers, frozenset())

    def published(self, exchange: str, keys: Collection[str], headers: Mapping[str, Any]) -> Route:
        """Return where a client's message goes: an internal exchange takes none.

        Dead letters, and what other exchanges pass on, may go through it all the same.

        Raises:
            ManagementError: it cannot be asked.
        """
        found = None if exchange == _DEFAULT else self._exchange(exchange)
        is_internal = (found or {}).get("internal")
        return Route() if is_internal else self.of(exchange, keys, headers)

    def _of(
        self,
        exchange: str,
        keys: Collection[str],
        headers: Mapping[str, Any],
        seen: frozenset[str],
    ) -> Route:
        if exchange == _DEFAULT:
            return _by_default(self._has_queue, keys)
        found = self._exchange(exchange)
        # Bindings may go round in circles; RabbitMQ, too, passes each exchange once.
        if exchange in seen or found is None:
            return Route()
        return self._through(exchange, found, keys, headers, seen | {exchange})

    def _through(
        self,
        exchange: str,
        found: Mapping[str, Any],
        keys: Collection[str],
        headers: Mapping[str, Any],
        seen: frozenset[str],
    ) -> Route:
        """Return where an exchange leads, by its bindings, else by its alternate exchange."""
        self.needs_headers |= found["type"] == "headers"
        matches = _MATCHES.get(found["type"])
        if matches is None:
            return UNKNOWN  # a plugin's exchange, whose rules nobody tells
        fitting = [each for each in self._bindings(exchange) if matches(each, keys, headers)]
        alternate = _alternate(found)
        if fitting or alternate is None:
            return self._behind(fitting, keys, headers, seen)
        return self._of(alternate, keys, headers, seen)

    def _behind(
        self,
        bindings: Iterable[Mapping[str, Any]],
        keys: Collection[str],
        headers: Mapping[str, Any],
        seen: frozenset[str],
    ) -> Route:
        route = Route()
        for binding in bindings:
            destination = str(binding["destination"])
            if binding["destination_type"] == "queue":
                route |= Route(frozenset((destination,)))
            else:
                route |= self._of(destination, keys, headers, seen)
        return route

    def _ask_for_exchange(self, name: str) -> Mapping[str, Any] | None:
        """Return what is known of an exchange, None if there is none."""
        found: Mapping[str, Any] | None = self._get("exchanges", self._vhost, name)
        return found

    def _ask_for_bindings(self, exchange: str) -> list[Mapping[str, Any]]:
        return self._get("exchanges", self._vhost, exchange, "bindings", "source") or []

    def _get(self, *path: str) -> Any:
        try:
            return self._management.get(*path)
        except ManagementError as error:
            if error.status == _NOT_FOUND:
                return None
            raise


def _alternate(exchange: Mapping[str, Any]) -> str | None:
    """Return the exchange that gets what no binding fits, None if there is none."""
    # An argument counts more than a policy (rabbitmq.com/docs/ae).
    sources = map(exchange.get, ("arguments", "policy_definition"))
    return ChainMap[str, Any](*filter(None, sources)).get("alternate-exchange") or None


def _direct(binding: Mapping[str, Any], keys: Collection[str], _: Mapping[str, Any]) -> bool:
    return binding["routing_key"] in keys


def _fanout(*_: object) -> bool:
    return True


def _topic(binding: Mapping[str, Any], keys: Collection[str], _: Mapping[str, Any]) -> bool:
    pattern = _words(binding["routing_key"])
    return any(_fits(pattern, _words(key)) for key in keys)


def _words(key: str) -> list[str]:
    return key.split(".") if key else []  # an empty key has no words; `"".split` has one


def _fits(pattern: list[str], words: list[str]) -> bool:
    """Tell whether words match a topic: `*` is one word, `#` any number. Linear in each `#`."""
    ends = {0}  # the words, from the left, that the pattern so far may stand for
    for part in pattern:
        ends = set(_steps(part, ends, words))
    return len(words) in ends


def _steps(part: str, ends: set[int], words: list[str]) -> Iterator[int]:
    if part == "#":
        yield from range(min(ends, default=len(words) + 1), len(words) + 1)
        return
    for end in ends:
        if end < len(words) and part in ("*", words[end]):
            yield end + 1


def _headers(binding: Mapping[str, Any], _: Collection[str], headers: Mapping[str, Any]) -> bool:
    wanted: Mapping[str, Any] = binding["arguments"]
    kind = str(wanted.get("x-match", "all"))
    names = filter(_with_x if kind.endswith("-with-x") else _without_x, wanted)
    fitting = (_is_there(name, wanted[name], headers) for name in names)
    # Nothing to match is a match for `all`, and none for `any`.
    return any(fitting) if kind.startswith("any") else all(fitting)


def _is_there(name: str, value: Any, headers: Mapping[str, Any]) -> bool:
    # AMQP's void, without a value, asks for no more than that the header is there.
    return name in headers and value in (None, headers[name])


def _with_x(name: str) -> bool:
    return name != "x-match"


def _without_x(name: str) -> bool:
    return not name.startswith("x-")


_Matches = Callable[[Mapping[str, Any], Collection[str], Mapping[str, Any]], bool]
_MATCHES: Final[dict[str, _Matches]] = {
    "direct": _direct,
    "fanout": _fanout,
    "topic": _topic,
    "headers": _headers,
}
