"""Queues that lose messages to a look, and what makes it safe.

A quorum queue counts how often it gives out a message that comes back, and drops it, or
dead-letters it, beyond a limit: from RabbitMQ 4.0 on that is 20 where nothing else is set.
"""

import json
import re
import shlex
from collections.abc import Mapping
from math import inf
from typing import Any, Final

import msgspec

__all__ = ["MANY", "QueueFacts", "Refusal", "command_for", "refusal_of"]

MANY: Final = 1_000_000
"""The delivery limit above which a queue counts as safe."""
_DEFAULT_LIMIT: Final = 20
_NO_DELAY: Final = (None, "disabled")


class QueueFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A queue as far as its kind matters."""

    name: str
    vhost: str = "/"
    version: tuple[int, ...] = (4, 0)
    """The server's."""
    type: str | None = None
    """`classic`, `quorum` or `stream`; None if nobody could be asked."""
    arguments: Mapping[str, Any] = {}
    policy: Mapping[str, Any] = {}
    """The definition of the policy that applies to it."""
    priority: int = -1
    """That policy's."""
    operator_policy: Mapping[str, Any] = {}
    messages: int | None = None
    """All messages, also those that consumers hold, as of some seconds ago."""
    are_late: bool = False
    """Whether the policies are those of some seconds ago."""
    unknown_because: str | None = None
    """Why nobody could be asked."""

    def setting(self, name: str) -> Any:
        """Return an argument of the queue, or what its policies say, None if neither does."""
        for source, key in (
            (self.arguments, f"x-{name}"),
            (self.operator_policy, name),
            (self.policy, name),
        ):
            if key in source:
                return source[key]
        return None


class Refusal(msgspec.Struct, frozen=True):
    """Why a queue is not looked at, and the one command after which it can be."""

    queue: str
    reason: str
    policy: str | None = None
    """The command for a shell that lifts it; None if the only way is to read by copies."""

    @property
    def command(self) -> str:
        """For a shell. One with `--rescue` takes the place of the call that was refused."""
        return self.policy or command_for(self.queue, "inspect", "--rescue")

    def __str__(self) -> str:
        return f"{self.reason}\n  {self.command}"


def command_for(queue: str, verb: str, *options: str) -> str:
    """Return a command of mqctx on a queue, for a shell."""
    # A name that begins with a dash is an option, unless it stands behind `--`.
    words = [*options, "--", queue] if queue.startswith("-") else [queue, *options]
    return shlex.join(["mqctx", verb, *words])


def refusal_of(queue: QueueFacts) -> Refusal | None:
    """Return why a look could lose messages of this queue, None if it cannot."""
    if queue.type is None:
        return Refusal(
            queue.name,
            f"{queue.name}: refused, since a look at some kinds of queues loses messages, and its "
            f"kind cannot be asked: {queue.unknown_because}. Or read it by copies to its end:",
        )
    reason = _danger(queue) if queue.type == "quorum" else None
    if reason is None:
        return None
    by_policy = _policy_command(queue)
    remedy = "A policy lifts that:" if by_policy else "Read it by copies to the queue's end:"
    return Refusal(queue.name, f"{queue.name}: refused, since {reason}. {remedy}", by_policy)


def _danger(queue: QueueFacts) -> str | None:
    """Return what a quorum queue with these settings does to messages that come back, if harm."""
    if queue.setting("delayed-retry-type") not in _NO_DELAY:
        return "its messages would vanish for a while after each look (delayed retry)"
    limit = delivery_limit(queue)
    if limit < MANY:
        times = max(0, int(limit))
        return f"it drops messages that were given out more than {times} times (delivery limit)"
    return None


def delivery_limit(queue: QueueFacts) -> float:
    """Return how often a message may come back, infinity if there is no limit."""
    limits = _limits(queue)
    if queue.version < (4,):
        return min(limits, default=inf)  # on 3.10, -1 lost all messages at the first look
    return min((inf if each < 0 else each for each in limits), default=_DEFAULT_LIMIT)


def _limits(queue: QueueFacts) -> list[int]:
    """Return the limits that are set somewhere: the lowest counts."""
    key = "delivery-limit"
    told = (queue.policy.get(key), queue.operator_policy.get(key), queue.arguments.get(f"x-{key}"))
    return [each for each in told if each is not None]


def _policy_command(queue: QueueFacts) -> str | None:
    """Return the command that sets a policy, None if none could lift what another setting says."""
    kept = {k: v for k, v in queue.policy.items() if not k.startswith("delayed-retry-")}
    definition = {**kept, "delivery-limit": MANY}
    # One policy at most applies to a queue: ours has to repeat what the present one says.
    if _danger(msgspec.structs.replace(queue, policy=definition)) is not None:
        return None
    vhost = ["-p", queue.vhost] if queue.vhost != "/" else []
    pattern = "^" + re.sub(r"([\\.^$*+?()\[\]{}|])", r"\\\1", queue.name) + "$"
    words = [
        *("rabbitmqctl", "set_policy", *vhost),
        *("--apply-to", "queues", "--priority", str(queue.priority + 1)),
        *(f"mqctx-look-{queue.name}", pattern, json.dumps(definition)),
    ]
    return shlex.join(words)
