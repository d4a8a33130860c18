"""A process's memory does not grow with the messages, nor with the contexts, that pass it."""

from collections.abc import Callable

import pytest

from mqctx import Context

from .memory import Held, held
from .traffic import traffic

BYTES_PER_MESSAGE = 40
"""Less than an object takes: whatever is kept of each message is more."""


def grown(first: int, more: int, use: Callable[[Context], object]) -> Held:
    """Return how much `more` messages after the `first` ones add to what is held."""
    with traffic(use) as pass_messages:
        pass_messages(first)
        before = held()
        pass_messages(more)
        return held().more_than(before)


def nothing_is_kept(growth: Held, messages: int) -> bool:
    """Whether less is held in addition than one thing for each of the messages.

    No context at all; of anything else one per hundred messages, for what the interpreter keeps
    for its own use.
    """
    return growth.contexts <= 0 and max(growth.objects, growth.blocks) < messages / 100 + 1000


@pytest.mark.parametrize(
    ("keep", "held_back"),
    [
        pytest.param(lambda context: context, 1, id="each context"),
        pytest.param(lambda context: context["request_id"], 0, id="a value of each"),
    ],
)
def test_a_leak_would_be_noticed(keep: Callable[[Context], object], held_back: int) -> None:
    """A handler that keeps something of each message fails the check of the tests below."""
    kept: list[object] = []
    growth = grown(1000, 3000, lambda context: kept.append(keep(context)))
    assert not nothing_is_kept(growth, 3000)
    assert growth.contexts == 3000 * held_back


def test_nothing_is_kept_of_5000_messages() -> None:
    """No context, and no other object, is left of a message that was handled."""
    assert nothing_is_kept(grown(1000, 5000, id), 5000)


@pytest.mark.full
def test_nothing_is_kept_of_200000_messages() -> None:
    """From 50,000 to 200,000 messages neither objects nor resident memory grow with them."""
    growth = grown(50_000, 150_000, id)
    assert nothing_is_kept(growth, 150_000)
    assert growth.resident < 150_000 * BYTES_PER_MESSAGE
