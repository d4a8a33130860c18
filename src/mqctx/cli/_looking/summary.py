"""The outcome of a look, in one line, with warnings and hints."""

from collections.abc import Iterator, Sequence
from typing import Final

from mqctx.cli._looking.text import clocks, counted, escaped, have_days, listed
from mqctx.inspection import Look, Message
from mqctx.inspection._moments import Period

_MOST_NAMES: Final = 8


class Summary:
    """Counts over all queues that were read."""

    def __init__(self) -> None:
        self.queues: list[str] = []
        self.there = 0
        self.looked = 0
        self.copied = 0
        self.chosen = 0
        """The messages for which all conditions hold."""
        self._period = Period()
        self.notes: list[str] = []
        """Lines for stderr."""

    def add(self, look: Look) -> None:
        """Count a look that has ended."""
        self.queues.append(look.queue)
        self.there += look.there
        self.looked += look.looked
        self.notes += [f"{escaped(look.queue)}: {note}" for note in _notes(look)]
        if look.rescue is not None:
            self.copied += look.rescue.copied

    def choose(self, message: Message) -> None:
        """Count a message for which all conditions hold."""
        self.chosen += 1
        self._period.add(message.at)

    def line(self) -> str:
        """Return the line above a table."""
        where = escaped(self.queues[0]) if len(self.queues) == 1 else f"{len(self.queues)} queues"
        chosen = "" if self.chosen == self.looked else f"{self.chosen:,} of them chosen, "
        text = (
            f"{counted(self.there, 'message')} in {where}, looked at {self.looked:,}, "
            f"{chosen}{self.outcome}"
        )
        return text + self._times()

    @property
    def outcome(self) -> str:
        """Whether the messages stayed in place, as text."""
        if self.copied:
            return f"{self.copied:,} copied to the end, and taken off their place"
        return "all left in place"

    def _times(self) -> str:
        period = self._period
        if period.first is None:
            return ""
        return f"  {' .. '.join(clocks(period, with_date=have_days(period)))} UTC"

    def hint(self, others: Sequence[str]) -> str:
        """Return the line below a table that was grouped by a name of our choice."""
        more = len(others) > _MOST_NAMES
        return f"also: --by {listed(others[:_MOST_NAMES], and_more=more)}"


def _notes(look: Look) -> list[str]:
    notes = [*_not_read(look)]
    if look.rescue is not None:
        notes += look.rescue.reasons()
    return notes


def _not_read(look: Look) -> Iterator[str]:
    if held := look.held_by_others:
        yield f"{counted(held, 'more is', 'more are')} held by other consumers"
    if look.is_late:
        yield "stopped before RabbitMQ would take the look for a consumer that is stuck"
    elif look.missed:  # where it ended early, what is missing was not read at all
        yield _missed(look)


def _missed(look: Look) -> str:
    if look.facts.arguments.get("x-single-active-consumer"):
        return f"{look.missed:,} could not be read: another consumer is the single active one"
    return f"{look.missed:,} went to other consumers meanwhile"
