"""RabbitMQ's tracing of a vhost: turned on for a while, and exactly as it was afterwards.

A durable exchange marks that tracing was off before. So whoever comes last knows what to restore:
the last of several traces, a trace after one that was killed, `mqctx trace --off`. Each node of a
cluster traces for itself, so that the last one of each node turns it off there: the names of our
queues say whose they are.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final
from uuid import uuid4

import msgspec

from mqctx.inspection._management import Management, ManagementError

__all__ = ["MARK", "Found", "TracingState", "new_queue"]

MARK: Final = "mqctx.trace"
_QUEUES: Final = "mqctx.trace."
"""How the names of all our queues begin."""
_MOST_OF_NODE: Final = 150
_LEFT: Final = (
    "an earlier trace was killed and has left tracing on; it is turned off when this one ends"
)


_NO_RIGHT: Final = (401, 403)
_ADVICE: Final = "Tracing takes the tag 'administrator'; --tap EXCHANGE does without it"


def new_queue(node: str = "") -> str:
    """Return a name for the queue of a trace of a node."""
    return f"{_of_node(node)}{uuid4().hex}"


def _of_node(node: str) -> str:
    return f"{_QUEUES}{node[:_MOST_OF_NODE]}."


@contextmanager
def _advising() -> Generator[None]:
    """Say what to do without the right to ask."""
    try:
        yield
    except ManagementError as error:
        if error.status in _NO_RIGHT:
            raise ManagementError(f"{error}. {_ADVICE}", error.status) from error
        raise


class Found(msgspec.Struct, frozen=True):
    """The state that a trace found as it began."""

    warnings: tuple[str, ...] = ()
    untraced_nodes: tuple[str, ...] = ()


class TracingState:
    """Turn tracing of a vhost on, and restore it.

    Call `begin` and `end` one at a time among all traces of the vhost.

    Args:
        management: The management API, of a user that is an administrator.
        vhost: The vhost.
    """

    def __init__(self, management: Management, vhost: str) -> None:
        self._management = management
        self._vhost = vhost

    @cached_property
    def node(self) -> str:
        """The node whose tracing it is: the one that answers.

        Raises:
            ManagementError: it cannot be asked.
        """
        with _advising():
            return str(self._management.get("overview").get("node"))

    def begin(self, own_queue: str) -> Found:
        """Turn tracing on, unless it is on.

        Raises:
            ManagementError: it cannot be turned on.
        """
        with _advising():
            return self._begin(own_queue)

    def end(self, own_queue: str) -> str:
        """Turn tracing off if it was off before and no other trace needs it; say what was done.

        Raises:
            ManagementError: it cannot be turned off.
        """
        if not self._is_marked():
            is_on = self._get().get("tracing")
            return "tracing stays on: it was before" if is_on else "tracing is off"
        others = self._others(own_queue)
        if self._are_here(others):
            return "another trace is at work, and restores tracing when it ends"
        self._put(self._get(), tracing=False)
        if not others:
            self._management.delete("exchanges", self._vhost, MARK)
        return "tracing is off again"

    def _begin(self, own_queue: str) -> Found:
        found = self._get()
        warnings: tuple[str, ...] = ()
        if not found.get("tracing"):
            self._turn_on(found)
        elif self._is_marked() and not self._are_here(self._others(own_queue)):
            warnings = (_LEFT,)
        return Found(warnings, self._untraced_nodes())

    def _turn_on(self, found: dict[str, Any]) -> None:
        # The mark first: a kill between the two leaves a mark too many, never tracing unmarked.
        self._management.put("exchanges", self._vhost, MARK, type="fanout", durable=True)
        try:
            self._put(found, tracing=True)
        except ManagementError:
            self._management.delete("exchanges", self._vhost, MARK)
            raise

    def _get(self) -> dict[str, Any]:
        found: dict[str, Any] = self._management.get("vhosts", self._vhost)
        return found

    def _put(self, found: dict[str, Any], *, tracing: bool) -> None:
        """Change tracing alone: RabbitMQ resets whatever is not sent along with it."""
        kept: dict[str, Any] = {
            name: found[name] for name in ("description", "tags") if name in found
        }
        # 3.10 says "undefined" where there is none, and newer ones would take it for a type.
        if found.get("default_queue_type") not in (None, "undefined"):
            kept["default_queue_type"] = found["default_queue_type"]
        self._management.put("vhosts", self._vhost, **kept, tracing=tracing)

    def _is_marked(self) -> bool:
        try:
            self._management.get("exchanges", self._vhost, MARK)
        except ManagementError as error:
            if error.status != 404:
                raise
            return False
        return True

    def _others(self, own_queue: str) -> list[str]:
        return [each for each in self._management.queue_names(f"{_QUEUES}*") if each != own_queue]

    def _are_here(self, queues: list[str]) -> bool:
        """Tell whether one of these queues is of a trace of the same node."""
        return any(each.startswith(_of_node(self.node)) for each in queues)

    def _untraced_nodes(self) -> tuple[str, ...]:
        """Return the nodes that run but were not told: each traces for itself."""
        nodes: list[dict[str, Any]] = self._management.get("nodes", columns="name,running")
        return tuple(
            str(each["name"]) for each in nodes if each.get("running") and each["name"] != self.node
        )
