"""Compare the contexts that the handlers saw with those that were sent."""

from collections.abc import Iterator, Mapping

import msgspec

from mqctx.cli._demo.journal import HandlerRun, Journal
from mqctx.cli._demo.story import SENT_IN, WORKERS


class Verdict(msgspec.Struct, frozen=True):
    """The outcome in one line, and a line for each fault."""

    summary: str
    problems: list[str]


def judge(journal: Journal) -> Verdict:
    """Compare the journal with the story."""
    right: list[HandlerRun] = []
    wrong: list[HandlerRun] = []
    for run in journal.runs:
        (right if run.context == SENT_IN[run.order] else wrong).append(run)
    # One order is sent without a context, and its handlers must not have that of another.
    owned = sum(bool(run.context) for run in right)
    summary = (
        f"{len(journal.runs)} handlers ran: {owned} in their request's context, "
        f"{len(right) - owned} rightly without, {len(wrong)} mixed up"
    )
    return Verdict(summary, [*map(_mixed_up, wrong), *_missing(journal), *_left_behind(journal)])


def _mixed_up(run: HandlerRun) -> str:
    return (
        f"{run.service} handled {run.order} with {_described(run.context)}; "
        f"it was sent with {_described(SENT_IN[run.order])}"
    )


def _missing(journal: Journal) -> Iterator[str]:
    handled = {(run.service, run.order) for run in journal.runs}
    for worker in WORKERS:
        for order in SENT_IN:
            if (worker, order) not in handled:
                yield f"{worker} did not get {order} in time"


def _left_behind(journal: Journal) -> Iterator[str]:
    for service, context in journal.leftovers:
        yield f"{service} still had {_described(context)} after a message"


def _described(context: Mapping[str, object]) -> str:
    return " ".join(map(str, context.values())) or "no context"
