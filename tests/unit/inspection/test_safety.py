"""Queues that are not looked at, and the command that changes that."""

import shlex
from math import inf
from typing import Any

import pytest

from mqctx.inspection import QueueFacts
from mqctx.inspection._safety import delivery_limit, refusal_of

NEW, OLD = (4, 0, 5), (3, 10, 8)


def quorum(version: tuple[int, ...] = NEW, **more: Any) -> QueueFacts:
    return QueueFacts(name="orders.dead", type="quorum", version=version, **more)


@pytest.mark.parametrize(
    ("version", "argument", "policy", "operator", "limit"),
    [
        (NEW, None, None, None, 20),
        (NEW, -1, None, None, inf),
        (NEW, 5, None, None, 5),
        (NEW, None, -1, None, inf),
        (NEW, None, 1_000_000, None, 1_000_000),
        (NEW, -1, 5, None, 5),
        (NEW, 5, -1, None, 5),
        (NEW, 5, 1_000_000, None, 5),
        (NEW, None, 1_000_000, 7, 7),
        (NEW, None, None, 7, 7),
        (OLD, None, None, None, inf),
        (OLD, -1, None, None, -1),
        (OLD, -1, 1_000_000, None, -1),
        (OLD, None, 1_000_000, None, 1_000_000),
        (OLD, 5, None, None, 5),
    ],
)
def test_the_limit_is_that_of_the_server(
    version: tuple[int, ...],
    argument: int | None,
    policy: int | None,
    operator: int | None,
    limit: float,
) -> None:
    facts = quorum(
        version,
        arguments={} if argument is None else {"x-delivery-limit": argument},
        policy={} if policy is None else {"delivery-limit": policy},
        operator_policy={} if operator is None else {"delivery-limit": operator},
    )
    assert delivery_limit(facts) == limit
    assert (refusal_of(facts) is None) == (limit >= 1_000_000)


@pytest.mark.parametrize("kind", ["classic", "stream"])
def test_other_kinds_are_safe(kind: str) -> None:
    assert refusal_of(QueueFacts(name="q", type=kind)) is None


def test_a_policy_keeps_what_the_one_says_that_it_outranks() -> None:
    refusal = refusal_of(
        QueueFacts(
            name="a.b (old)",
            vhost="/shop",
            type="quorum",
            version=NEW,
            policy={"dead-letter-exchange": "x", "delivery-limit": 3},
            priority=7,
        )
    )
    assert refusal is not None
    assert shlex.split(refusal.command) == [
        *("rabbitmqctl", "set_policy", "-p", "/shop", "--apply-to", "queues", "--priority", "8"),
        *("mqctx-look-a.b (old)", r"^a\.b \(old\)$"),
        '{"dead-letter-exchange": "x", "delivery-limit": 1000000}',
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"arguments": {"x-delivery-limit": 5}},
        {"operator_policy": {"delivery-limit": 5}},
        {"arguments": {"x-delayed-retry-type": "all"}},
        {"version": OLD, "arguments": {"x-delivery-limit": -1}},
    ],
)
def test_where_no_policy_lifts_it_copies_are_the_way(more: dict[str, Any]) -> None:
    refusal = refusal_of(quorum(**more))
    assert refusal is not None
    assert refusal.command == "mqctx inspect orders.dead --rescue"


def test_delayed_retry_by_a_policy_is_lifted_by_another() -> None:
    facts = quorum(policy={"delayed-retry-type": "all", "delivery-limit": -1}, priority=0)
    refusal = refusal_of(facts)
    assert refusal is not None
    assert "vanish" in str(refusal)
    assert refusal.command.endswith("""'^orders\\.dead$' '{"delivery-limit": 1000000}'""")


def test_delayed_retry_that_is_disabled_is_none() -> None:
    assert (
        refusal_of(quorum(arguments={"x-delayed-retry-type": "disabled", "x-delivery-limit": -1}))
        is None
    )


def test_a_kind_that_nobody_told_is_refused() -> None:
    refusal = refusal_of(QueueFacts(name="q 1", unknown_because="no answer"))
    assert refusal is not None
    assert "no answer" in refusal.reason
    assert refusal.command == "mqctx inspect 'q 1' --rescue"


def test_a_command_takes_a_name_that_begins_with_a_dash_for_no_option() -> None:
    refusal = refusal_of(QueueFacts(name="-q", unknown_because="no answer"))
    assert refusal is not None
    assert refusal.command == "mqctx inspect --rescue -- -q"
